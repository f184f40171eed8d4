#include "executor/checkpoint/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <set>
#include <system_error>

#include "core/error.h"
#include "core/files.h"

namespace orrery::executor {
namespace fs = std::filesystem;
namespace {

constexpr const char* kInfo = "checkpoint.json";
constexpr std::string_view kStep = "step-", kPartial = ".partial", kWritten = ".written-", kLast = ".last";
constexpr const char* kOwn = "orrery";  // in the metadata of our files

std::string reason() { return std::generic_category().message(errno); }

[[noreturn]] void cannot_write(const fs::path& path, const std::string& why) {
  throw Error(path.string(), "cannot be written: " + why, "free some room or choose another folder; what was complete before is still there");
}

// The steps in the name of a checkpoint's folder.
std::optional<std::int64_t> steps_of(const std::string& name) {
  if (!name.starts_with(kStep)) return std::nullopt;
  std::int64_t steps = 0;
  const char* begin = name.data() + kStep.size();
  const char* const end = name.data() + name.size();
  const auto [stop, failure] = std::from_chars(begin, end, steps);
  if (failure != std::errc{} || stop != end || steps < 1) return std::nullopt;
  return steps;
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);  // some file systems know no such thing; the rename itself is what counts
  ::close(fd);
}

void write_at(int fd, const fs::path& path, std::int64_t to, const std::byte* from, std::int64_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::pwrite(fd, from, static_cast<std::size_t>(std::min<std::int64_t>(bytes, 1 << 30)), to);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) cannot_write(path, reason());
    from += n, to += n, bytes -= n;
  }
}

// The states beside the parameters, as their names begin.
constexpr std::array<const char*, 4> kPrefixes{"", "m.", "v.", "master."};
constexpr std::size_t kParameters = 0, kMaster = 3;

std::array<std::int32_t, 4> buffers_of(const StateBuffers& s) { return {s.parameters, s.m, s.v, s.master}; }

std::string dimensions(const std::vector<std::int64_t>& shape) { return shape.empty() ? "a number" : fmt::format("{}", fmt::join(shape, " x ")); }

}  // namespace

// --- Writing -------------------------------------------------------------------------------------------------------------------------------------

struct CheckpointWriter::Set {
  std::string name;  // "model"
  std::vector<SafetensorsHeader> files{SafetensorsHeader{}};
  std::map<std::string, std::pair<std::size_t, std::size_t>> place;  // by tensor: its file, and its number there
  std::vector<std::int64_t> before;                                  // by file: bytes before its tensors

  void add(const std::string& tensor, StoredType type, const std::vector<std::int64_t>& shape, std::int64_t most_bytes) {
    if (place.contains(tensor)) return;
    SafetensorsHeader one;
    one.append(tensor, type, shape);
    if (!files.back().tensors.empty() && files.back().bytes() + one.bytes() > most_bytes) files.emplace_back();
    place.emplace(tensor, std::pair(files.size() - 1, files.back().tensors.size()));
    files.back().append(tensor, type, shape);
  }
  std::string file_name(std::size_t i) const {
    return files.size() == 1 ? name + ".safetensors" : fmt::format("{}-{:05}-of-{:05}.safetensors", name, i + 1, files.size());
  }
};

struct CheckpointWriter::Pending {
  struct File {
    fs::path path;
    int fd = -1;
  };
  std::int64_t steps = 0;
  fs::path folder;
  std::vector<std::vector<File>> files;  // by set
  std::int64_t missing = 0;              // ranks that have not written their parts

  ~Pending() {
    for (const auto& set : files)
      for (const File& f : set)
        if (f.fd >= 0) ::close(f.fd);
  }
};

struct CheckpointWriter::Piece {
  std::size_t state = kParameters;  // index into kPrefixes
  OwnedStretch stretch;
  std::vector<std::byte> bytes;
  std::string scales{};  // a whole tensor of them instead of a stretch
};

void refuse_checkpoints(const program::Program& program) {
  for (const program::Role& role : program.roles) {
    if (role.validation != program::kNone)
      throw Error("checkpoint.every_steps", "with optimizer.post_validation the last update may still be taken back when a step ends",
                  "set optimizer.post_validation false, or leave checkpoints out");
    if (!role.epilogue.empty())
      throw Error("checkpoint.every_steps", "an asynchronous pipeline is not empty between steps: what is under way there belongs to no checkpoint",
                  "use a synchronous schedule, e.g. 1f1b, or leave checkpoints out");
  }
}

CheckpointWriter::CheckpointWriter(const program::Program& program, const Model& model, const Plan& plan, std::string data, Settings settings)
    : program_(program),
      model_(model),
      settings_(std::move(settings)),
      info_{model.name, plan.optimizer.kind, 0, 0, plan.seed, std::move(data)},
      batch_(program.global_batch) {
  refuse_checkpoints(program);
  sets_.resize(2);
  sets_[0].name = "model", sets_[1].name = "optimizer";
  for (const program::Role& role : program.roles) {
    const std::array<std::int32_t, 4> buffers = buffers_of(state_buffers(role));
    // What a role has on its ranks, whichever they are: all rows of a parameter; of experts, all experts.
    for (const program::Parameter& p : role.parameters)
      for (const StoredPlace& place : stored_places(model, p, 0, p.global_rows))
        for (std::size_t k = 0; k < buffers.size(); ++k)
          if (buffers[k] >= 0)
            sets_[k == kParameters ? 0 : 1].add(kPrefixes[k] + place.tensor, stored_type(role.buffers[static_cast<std::size_t>(buffers[k])].dtype),
                                                place.shape, settings_.most_bytes);
  }
  for (const program::Role& role : program.roles)
    for (const KeptScales& s : kept_scales(role)) sets_[1].add(s.tensor, StoredType::f32, {s.elements}, settings_.most_bytes);
  if (sets_[1].place.empty()) sets_.pop_back();
  for (Set& set : sets_)
    for (SafetensorsHeader& file : set.files) {
      file.metadata = {{"format", "pt"}, {kOwn, "checkpoint/1"}};  // transformers reads files of this format only
      set.before.push_back(static_cast<std::int64_t>(write_safetensors_header(file).size()));
    }

  std::error_code failure;
  fs::create_directories(settings_.folder, failure);
  if (failure) cannot_write(settings_.folder, failure.message());
  if (::access(settings_.folder.c_str(), W_OK | X_OK) != 0) cannot_write(settings_.folder, reason());
  // Each process looks: none writes before all have come as far as this.
  const std::optional<fs::path> newest = newest_checkpoint(settings_.folder);
  if (newest && *newest == settings_.folder)
    throw Error("--checkpoint", fmt::format("{} is a checkpoint itself, not a folder of them", newest->string()), "give another folder");
  if (newest && *steps_of(newest->filename()) > settings_.first_step)
    throw Error(
        "--checkpoint",
        fmt::format("{} is there, which this run would leave as the newest: it begins after {} steps", newest->string(), settings_.first_step),
        fmt::format("give another folder, or go on from there: --resume {}", newest->string()));
  if (settings_.process == 0)
    for (const auto& entry : fs::directory_iterator(settings_.folder)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(kPartial) && steps_of(name.substr(0, name.size() - kPartial.size()))) fs::remove_all(entry.path(), failure);
    }
}

CheckpointWriter::~CheckpointWriter() {
  abort();
  writing_.clear();  // waits for them
  if (!pending_) return;
  const fs::path folder = pending_->folder;
  pending_.reset();
  std::error_code ignored;
  if (settings_.processes == 1) fs::remove_all(folder, ignored);
}

fs::path CheckpointWriter::folder_of(std::int64_t steps) const { return settings_.folder / fmt::format("{}{:08}", kStep, steps); }

// With the mutex held.
void CheckpointWriter::begin(std::int64_t steps) {
  auto next = std::make_unique<Pending>();
  next->steps = steps, next->missing = settings_.ranks_here;
  next->folder = folder_of(steps);
  next->folder += kPartial;
  std::error_code failure;
  fs::create_directories(next->folder, failure);
  if (failure) cannot_write(next->folder, failure.message());
  for (const Set& set : sets_) {
    auto& files = next->files.emplace_back();
    for (std::size_t i = 0; i < set.files.size(); ++i) {
      Pending::File& f = files.emplace_back();
      f.path = next->folder / set.file_name(i);
      f.fd = ::open(f.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
      if (f.fd < 0) cannot_write(f.path, reason());
      // Its whole length at once: bytes that nobody writes would be zero, and each process may be the first.
      if (::ftruncate(f.fd, set.before[i] + set.files[i].bytes()) != 0) cannot_write(f.path, reason());
      if (settings_.process != 0) continue;
      const std::string header = write_safetensors_header(set.files[i]);
      write_at(f.fd, f.path, 0, reinterpret_cast<const std::byte*>(header.data()), static_cast<std::int64_t>(header.size()));
    }
  }
  pending_ = std::move(next);
}

std::vector<CheckpointWriter::Piece> CheckpointWriter::pieces(std::int64_t rank, const Fetch& fetch) const {
  const program::Role& role = program_.role_of(rank);
  const std::array<std::int32_t, 4> buffers = buffers_of(state_buffers(role));
  std::vector<Piece> out;
  for (const OwnedStretch& s : owned_states(program_, rank, true))
    for (std::size_t k = 0; k < buffers.size(); ++k) {
      if (buffers[k] < 0) continue;
      const std::int64_t width = orrery::bits(role.buffers[static_cast<std::size_t>(buffers[k])].dtype) / 8;
      Piece piece{k, s, std::vector<std::byte>(static_cast<std::size_t>(s.count * width))};
      fetch(piece.bytes.data(), buffers[k], (k == kParameters ? s.in_parameters : s.at) * width, s.count * width);
      out.push_back(std::move(piece));
    }
  if (rank != program_.first_of_role(program_.stage_of(rank))) return out;
  for (const KeptScales& s : kept_scales(role)) {
    Piece piece{0, {}, std::vector<std::byte>(static_cast<std::size_t>(s.elements) * sizeof(float)), s.tensor};
    fetch(piece.bytes.data(), s.buffer, 0, static_cast<std::int64_t>(piece.bytes.size()));
    out.push_back(std::move(piece));
  }
  return out;
}

void CheckpointWriter::write(const std::vector<Piece>& all) {
  std::vector<std::byte> together;
  for (const Piece& piece : all) {
    if (!piece.scales.empty()) {
      const auto [file, number] = sets_[1].place.at(piece.scales);
      const Pending::File& to = pending_->files[1][file];
      write_at(to.fd, to.path, sets_[1].before[file] + sets_[1].files[file].tensors[number].begin, piece.bytes.data(),
               static_cast<std::int64_t>(piece.bytes.size()));
      continue;
    }
    const std::size_t n = piece.state == kParameters ? 0 : 1;
    const Set& set = sets_[n];
    const Rows rows = rows_of(piece.stretch);
    for (const StoredPlace& place : stored_places(model_, *piece.stretch.parameter, rows.begin, rows.end)) {
      const auto [file, number] = set.place.at(kPrefixes[piece.state] + place.tensor);
      const StoredTensor& tensor = set.files[file].tensors[number];
      const Pending::File& to = pending_->files[n][file];
      const std::int64_t width = bits(tensor.type) / 8, begin = set.before[file] + tensor.begin;
      for_each_run(piece.stretch, place, [&](std::int64_t stored, std::int64_t element, std::int64_t count, std::int64_t step) {
        const std::byte* from = piece.bytes.data() + element * width;
        if (step != 1) {
          together.resize(static_cast<std::size_t>(count * width));
          for (std::int64_t i = 0; i < count; ++i) std::memcpy(together.data() + i * width, from + i * step * width, static_cast<std::size_t>(width));
          from = together.data();
        }
        write_at(to.fd, to.path, begin + stored * width, from, count * width);
      });
    }
  }
  const std::lock_guard lock(mutex_);
  if (--pending_->missing > 0) return;
  complete();
  changed_.notify_all();
}

// With the mutex held: all ranks of this process have written.
void CheckpointWriter::complete() {
  for (auto& set : pending_->files)
    for (Pending::File& f : set) {
      if (::fsync(f.fd) != 0) cannot_write(f.path, reason());
      if (::close(std::exchange(f.fd, -1)) != 0) cannot_write(f.path, reason());
    }
  const fs::path partial = pending_->folder, whole = folder_of(pending_->steps);
  if (settings_.process == 0) {
    for (const Set& set : sets_) {
      if (set.files.size() == 1) continue;
      SafetensorsIndex index;
      for (std::size_t i = 0; i < set.files.size(); ++i) {
        index.total_size += set.files[i].bytes();
        for (const StoredTensor& t : set.files[i].tensors) index.file_of.emplace(t.name, set.file_name(i));
      }
      write_file_atomically(partial / (set.name + ".safetensors.index.json"), write_safetensors_index(index));
    }
    CheckpointInfo info = info_;
    info.steps = pending_->steps, info.samples = pending_->steps * batch_;
    write_file_atomically(partial / kInfo, write_checkpoint_info(info));
  }
  const auto written = [](std::int64_t process) { return fmt::format("{}{}", kWritten, process); };
  if (settings_.processes > 1) {
    write_file_atomically(partial / written(settings_.process), "");
    for (std::int64_t p = 0; p < settings_.processes; ++p)
      if (std::error_code gone; !fs::exists(partial / written(p), gone)) {
        pending_.reset();  // whoever is last makes it whole
        return;
      }
    if (settings_.all_have_written) settings_.all_have_written();
    // Several may find themselves the last. One of them makes this file; for the others it is there, or has gone with the folder's name.
    const int fd = ::open((partial / kLast).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST && errno != ENOENT) cannot_write(partial / kLast, reason());
    if (fd < 0) {
      pending_.reset();
      return;
    }
    ::close(fd);
  }
  std::error_code failure;
  fs::remove_all(whole, failure);  // of an earlier run that got as far
  sync_folder(partial);
  fs::rename(partial, whole, failure);
  if (failure) cannot_write(whole, failure.message());
  sync_folder(settings_.folder);
  if (settings_.processes > 1) fs::remove(whole / kLast, failure);
  for (std::int64_t p = 0; settings_.processes > 1 && p < settings_.processes; ++p) fs::remove(whole / written(p), failure);
  for (const auto& entry : fs::directory_iterator(settings_.folder, failure)) {
    const auto steps = steps_of(entry.path().filename().string());
    if (steps && *steps < pending_->steps) fs::remove_all(entry.path(), failure);
  }
  last_ = pending_->steps;
  pending_.reset();
}

void CheckpointWriter::save(std::int64_t steps, std::int64_t rank, const Fetch& fetch) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return aborted_ || failure_ || !pending_ || pending_->steps == steps; });
    if (failure_) std::rethrow_exception(failure_);
    if (aborted_) throw Error("checkpoint", "the run was given up");
    if (!pending_) begin(steps);
  }
  const auto write_all = [this](const std::vector<Piece>& all) {
    try {
      write(all);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      changed_.notify_all();
    }
  };
  std::vector<Piece> mine = pieces(rank, fetch);
  if (settings_.in_background) {
    std::future<void> task = std::async(std::launch::async, [write_all, all = std::move(mine)] { write_all(all); });
    std::future<void> before;
    const std::lock_guard lock(mutex_);
    before = std::exchange(writing_[rank], std::move(task));  // complete: nothing is begun before that
    return;
  }
  write_all(mine);
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

void CheckpointWriter::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return aborted_ || failure_ || !pending_; });
  if (failure_) std::rethrow_exception(failure_);
}

void CheckpointWriter::abort() {
  const std::lock_guard lock(mutex_);
  aborted_ = true;
  changed_.notify_all();
}

std::optional<std::int64_t> CheckpointWriter::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

// --- Reading -------------------------------------------------------------------------------------------------------------------------------------

std::optional<fs::path> newest_checkpoint(const fs::path& folder) {
  std::error_code failure;
  if (fs::exists(folder / kInfo, failure)) return folder;
  std::optional<fs::path> newest;
  std::int64_t most = 0;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    const auto steps = steps_of(entry.path().filename().string());
    if (!steps || *steps <= most || !fs::exists(entry.path() / kInfo, failure)) continue;
    most = *steps;
    newest = entry.path();
  }
  return newest;
}

std::unique_ptr<WeightFiles> WeightFiles::open(const fs::path& folder, const std::string& name) {
  std::error_code failure;
  for (const char* end : {".safetensors", ".safetensors.index.json"})
    if (const fs::path path = folder / (name + end); fs::exists(path, failure)) return std::make_unique<WeightFiles>(path);
  return nullptr;
}

WeightFiles::WeightFiles(const fs::path& path) : path_(path) {
  if (path.extension() != ".json") {
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    for (const StoredTensor& t : files_.front()->header().tensors) file_of_.emplace(t.name, 0);
    return;
  }
  const SafetensorsIndex index = read_safetensors_index(read_text_file(path), path.string());
  std::map<std::string, std::size_t> number;
  for (const auto& [tensor, file] : index.file_of) {
    const auto [entry, fresh] = number.emplace(file, files_.size());
    if (fresh) files_.push_back(std::make_unique<SafetensorsFile>(path.parent_path() / file));
    if (!files_[entry->second]->find(tensor))
      throw Error(path.string(), fmt::format("says that '{}' is in {}, which does not have it", tensor, file));
    file_of_.emplace(tensor, entry->second);
  }
}

bool WeightFiles::own() const { return !files_.empty() && files_.front()->header().metadata.contains(kOwn); }

std::vector<std::string> WeightFiles::tensors() const {
  std::vector<std::string> out;
  out.reserve(file_of_.size());
  for (const auto& [tensor, file] : file_of_) out.push_back(tensor);
  return out;
}

std::pair<const SafetensorsFile*, const StoredTensor*> WeightFiles::find(const std::string& tensor) const {
  const auto found = file_of_.find(tensor);
  if (found == file_of_.end()) return {nullptr, nullptr};
  const SafetensorsFile* file = files_[found->second].get();
  return {file, file->find(tensor)};
}

std::unique_ptr<CheckpointReader> CheckpointReader::to_resume(const fs::path& path, const program::Program& program, const Model& model,
                                                              const Plan& plan, const std::string& data) {
  const std::optional<fs::path> folder = newest_checkpoint(path);
  if (!folder) {
    std::error_code failure;
    if (!fs::exists(path, failure)) throw Error("--resume", fmt::format("'{}' does not exist", path.string()));
    throw Error("--resume", fmt::format("'{}' holds no complete checkpoint", path.string()),
                "name the folder that --checkpoint wrote to; --init begins with weights from elsewhere");
  }
  std::unique_ptr<CheckpointReader> out(new CheckpointReader);
  out->path_ = *folder;
  out->info_ = read_checkpoint_info(read_text_file(*folder / kInfo), (*folder / kInfo).string());
  const CheckpointInfo& info = out->info_;
  const auto other = [&](const std::string& what, const std::string& hint) {
    throw Error("--resume", fmt::format("{}: {}", folder->string(), what), hint);
  };
  const char* anew = "or begin anew with its weights: --init";
  if (info.model != model.name)
    other(fmt::format("its model was {}, this one is {}", info.model, model.name), fmt::format("give the same --model, {}", anew));
  if (info.seed != plan.seed)
    other(fmt::format("its run had seed {}, this one has {}", info.seed, plan.seed), fmt::format("use --set seed={}, {}", info.seed, anew));
  if (info.samples != info.steps * plan.batch.global)
    other(fmt::format("took {} sequences in {} steps, which batches of {} do not", info.samples, info.steps, plan.batch.global),
          info.samples % info.steps == 0 ? fmt::format("use --global-batch {}, {}", info.samples / info.steps, anew) : anew);
  if (info.data != data) other(fmt::format("its run read '{}', this one reads '{}'", info.data, data), fmt::format("give the same --data, {}", anew));
  if (info.optimizer != plan.optimizer.kind)
    other(fmt::format("its optimizer was {}, this one is {}", info.optimizer, plan.optimizer.kind),
          fmt::format("use --set optimizer.kind={}, {}", info.optimizer, anew));
  out->parameters_ = WeightFiles::open(*folder, "model");
  out->states_ = WeightFiles::open(*folder, "optimizer");
  if (!out->parameters_) other("has no model.safetensors", "take another checkpoint");
  if (plan.optimizer.kind == "adamw" && !out->states_) other("has no optimizer.safetensors", "take another checkpoint");
  // What is missing is found when it is read; what is there beside that would be forgotten.
  std::set<std::string> places;
  for (const program::Role& role : program.roles)
    for (const program::Parameter& p : role.parameters)
      for (StoredPlace& place : stored_places(model, p, 0, p.global_rows)) places.insert(std::move(place.tensor));
  for (const std::string& tensor : out->parameters_->tensors())
    if (!places.contains(tensor))
      other(fmt::format("has '{}', for which this run's {} has no place", tensor, model.name),
            "give the model that it was trained as, layers and all");
  return out;
}

std::unique_ptr<CheckpointReader> CheckpointReader::to_begin(const fs::path& path, const Model& model) {
  std::unique_ptr<CheckpointReader> out(new CheckpointReader);
  std::error_code failure;
  if (!fs::exists(path, failure)) throw Error("--init", fmt::format("'{}' does not exist", path.string()));
  if (fs::is_directory(path, failure)) {
    const fs::path folder = newest_checkpoint(path).value_or(path);
    out->path_ = folder;
    out->parameters_ = WeightFiles::open(folder, "model");
    if (!out->parameters_) throw Error("--init", fmt::format("'{}' has neither model.safetensors nor model.safetensors.index.json", folder.string()));
    if (fs::exists(folder / kInfo, failure)) out->states_ = WeightFiles::open(folder, "optimizer");
  } else {
    out->path_ = path;
    out->parameters_ = std::make_unique<WeightFiles>(path);
  }
  out->info_ = {};
  if (out->parameters_->own()) return out;
  if (model.mla)
    throw Error("--init", fmt::format("{}: not built yet: DeepSeek's published weights, which keep rotary pairs beside each other", path.string()),
                "begin with a checkpoint that Orrery wrote");
  if (!named_as_published(model))
    throw Error("--init", fmt::format("{}: not built yet: published weights of the family '{}'", path.string(), model.family),
                "begin with a checkpoint that Orrery wrote");
  return out;
}

namespace {

// Some files leave out what all names begin with.
std::pair<const SafetensorsFile*, const StoredTensor*> find(const WeightFiles& files, const std::string& prefix, const std::string& tensor) {
  const auto found = files.find(prefix + tensor);
  if (found.second || !prefix.empty()) return found;
  for (const std::string_view begin : {"model.", "transformer."})
    if (tensor.starts_with(begin)) return files.find(tensor.substr(begin.size()));
  return {nullptr, nullptr};
}

void read_stretch(const WeightFiles& files, const std::string& prefix, const Model& model, const Stretch& s, std::vector<float>& out) {
  out.assign(static_cast<std::size_t>(s.count), 0.0F);  // padding
  const Rows rows = rows_of(s);
  std::vector<float> apart;
  for (const StoredPlace& place : stored_places(model, *s.parameter, rows.begin, rows.end)) {
    const auto [file, tensor] = find(files, prefix, place.tensor);
    if (!tensor) throw Error(files.path().string(), fmt::format("has no tensor '{}{}', which {} needs", prefix, place.tensor, model.name));
    if (tensor->shape != place.shape)
      throw Error(file->path().string(),
                  fmt::format("'{}' is {}, but {} has {} there", tensor->name, dimensions(tensor->shape), model.name, dimensions(place.shape)),
                  "is this the right model?");
    const SafetensorsFile& from = *file;
    const StoredTensor& of = *tensor;
    for_each_run(s, place, [&](std::int64_t stored, std::int64_t element, std::int64_t count, std::int64_t step) {
      if (step == 1) return from.read(of, stored, std::span(out).subspan(static_cast<std::size_t>(element), static_cast<std::size_t>(count)));
      apart.resize(static_cast<std::size_t>(count));
      from.read(of, stored, apart);
      for (std::int64_t i = 0; i < count; ++i) out[static_cast<std::size_t>(element + i * step)] = apart[static_cast<std::size_t>(i)];
    });
  }
}

}  // namespace

void CheckpointReader::load(const program::Program& program, const Model& model, std::int64_t rank, const Store& store) const {
  const program::Role& role = program.role_of(rank);
  const std::array<std::int32_t, 4> buffers = buffers_of(state_buffers(role));
  std::vector<float> values;
  std::vector<std::byte> bytes;
  const auto put = [&](std::size_t state, std::int64_t at) {
    const StoredType type = stored_type(role.buffers[static_cast<std::size_t>(buffers[state])].dtype);
    const std::int64_t width = bits(type) / 8;
    bytes.resize(values.size() * static_cast<std::size_t>(width));
    narrow(values, type, bytes.data());
    store(buffers[state], at * width, bytes.data(), static_cast<std::int64_t>(bytes.size()));
  };
  // The exact values of the parameters: of the masters, where there are any.
  const auto has_master = [&](const Stretch& s) {
    const Rows rows = rows_of(s);
    if (!states_ || rows.begin >= rows.end) return false;
    return states_->find(kPrefixes[kMaster] + stored_places(model, *s.parameter, rows.begin, rows.begin + 1).front().tensor).second != nullptr;
  };
  const auto exact = [&](const Stretch& s) {
    const bool master = has_master(s);
    read_stretch(master ? *states_ : *parameters_, master ? kPrefixes[kMaster] : "", model, s, values);
  };
  if (buffers[kParameters] >= 0) {
    const StoredType type = stored_type(role.buffers[static_cast<std::size_t>(buffers[kParameters])].dtype);
    for (const Stretch& s : held_parameters(program, rank)) {
      const Rows rows = rows_of(s);
      const bool same = rows.begin < rows.end && [&] {
        const auto stored = find(*parameters_, "", stored_places(model, *s.parameter, rows.begin, rows.begin + 1).front().tensor).second;
        return stored && stored->type == type;
      }();
      if (same)
        read_stretch(*parameters_, "", model, s, values);  // as they were, however they were rounded
      else
        exact(s);
      put(kParameters, s.at);
    }
  }
  const bool resumes = info_.steps > 0;
  for (const OwnedStretch& s : owned_states(program, rank, false))
    for (std::size_t k = kParameters + 1; k < buffers.size(); ++k) {
      if (buffers[k] < 0 || (k != kMaster && !resumes)) continue;
      if (k == kMaster)
        exact(s);
      else
        read_stretch(*states_, kPrefixes[k], model, s, values);
      put(k, s.at);
    }
  for (const KeptScales& s : kept_scales(role)) {
    if (!resumes || !states_) break;
    const auto [file, tensor] = states_->find(s.tensor);
    if (!tensor || tensor->shape != std::vector{s.elements}) continue;  // of other stages: they are learned anew
    values.resize(static_cast<std::size_t>(s.elements));
    file->read(*tensor, 0, values);
    store(s.buffer, 0, values.data(), s.elements * std::int64_t{sizeof(float)});
  }
}

}  // namespace orrery::executor
