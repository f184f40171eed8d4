#include "executor/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "executor/random.h"
#include "run/runs.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

template <class Body>
std::string refusal(Body body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

// The memory of a rank, as wide as the role says, and what each of its elements should be: a number of the state, the parameter and the element
// alone.
class Memory {
 public:
  Memory(const program::Program& program, std::int64_t rank) : program_(program), rank_(rank), role_(program.role_of(rank)) {
    for (const program::Buffer& b : role_.buffers) bytes_.emplace_back(b.alias < 0 ? static_cast<std::size_t>(b.bytes) : 0, std::byte{0xff});
  }
  static std::uint64_t key(const char* state, const program::Parameter& p) { return random_key(7, state + p.name); }
  static float expected(std::uint64_t key, std::int64_t element) {
    return static_cast<float>(static_cast<double>(random_bits(key, static_cast<std::uint64_t>(element)) >> 44U) * 0x1p-10 - 500);
  }
  void fill() {
    each([](std::byte* at, StoredType type, float value) { narrow(std::span<const float>(&value, 1), type, at); });
  }
  void expect_filled(const std::string& name) {
    std::int64_t seen = 0, wrong = 0;
    each([&](const std::byte* at, StoredType type, float value) {
      std::byte raw[8], own[8];
      narrow(std::span<const float>(&value, 1), type, raw);
      std::memcpy(own, at, static_cast<std::size_t>(bits(type) / 8));
      wrong += std::memcmp(raw, own, static_cast<std::size_t>(bits(type) / 8)) != 0 ? 1 : 0;
      ++seen;
    });
    EXPECT_GT(seen, 0);
    EXPECT_EQ(wrong, 0) << name << ", rank " << rank_;
  }
  Fetch fetch() {
    return [this](void* to, std::int32_t buffer, std::int64_t from, std::int64_t n) {
      ASSERT_LE(from + n, static_cast<std::int64_t>(bytes_[static_cast<std::size_t>(buffer)].size()));
      std::memcpy(to, bytes_[static_cast<std::size_t>(buffer)].data() + from, static_cast<std::size_t>(n));
    };
  }
  Store store() {
    return [this](std::int32_t buffer, std::int64_t to, const void* from, std::int64_t n) {
      ASSERT_LE(to + n, static_cast<std::int64_t>(bytes_[static_cast<std::size_t>(buffer)].size()));
      std::memcpy(bytes_[static_cast<std::size_t>(buffer)].data() + to, from, static_cast<std::size_t>(n));
    };
  }

 private:
  template <class Visit>
  void each(Visit visit) {
    const auto over = [&](const char* state, std::int32_t buffer, const Stretch& s, std::int64_t at) {
      if (buffer < 0) return;
      const StoredType type = stored_type(role_.buffers[static_cast<std::size_t>(buffer)].dtype);
      const program::Parameter& p = *s.parameter;
      const std::uint64_t of = key(state, p);
      for (std::int64_t i = 0; i < s.count; ++i) {
        const std::int64_t row = s.origin.row + (s.first + i) / p.cols, col = s.origin.col + (s.first + i) % p.cols;
        const bool padding = row >= p.global_rows || col >= p.global_cols;
        visit(bytes_[static_cast<std::size_t>(buffer)].data() + (at + i) * bits(type) / 8, type,
              padding ? 0 : expected(of, row * p.global_cols + col));
      }
    };
    const StateBuffers b = state_buffers(role_);
    // A bf16 parameter is its master rounded.
    for (const Stretch& s : held_parameters(program_, rank_)) over("", b.parameters, s, s.at);
    for (const OwnedStretch& s : owned_states(program_, rank_, false)) {
      over("m", b.m, s, s.at);
      over("v", b.v, s, s.at);
      over("", b.master, s, s.at);
    }
  }
  const program::Program& program_;
  std::int64_t rank_;
  const program::Role& role_;
  std::vector<std::vector<std::byte>> bytes_;
};

void save(const program::Program& program, const Model& model, const Plan& plan, CheckpointWriter::Settings settings, std::int64_t steps) {
  settings.ranks_here = program.ranks();
  CheckpointWriter writer(program, model, plan, "text", std::move(settings));
  for (std::int64_t r = 0; r < program.ranks(); ++r) {
    Memory memory(program, r);
    memory.fill();
    writer.save(steps, r, memory.fetch());
  }
  writer.finish();
  EXPECT_EQ(writer.last(), steps);
}

void expect_loaded(const fs::path& folder, const program::Program& program, const Model& model, const Plan& plan, const std::string& name) {
  const auto reader = CheckpointReader::to_resume(folder, program, model, plan, "text");
  for (std::int64_t r = 0; r < program.ranks(); ++r) {
    Memory memory(program, r);
    reader->load(program, model, r, memory.store());
    memory.expect_filled(name);
  }
}

Plan half(Plan p) {
  p.precision.compute = p.precision.params = DType::bf16;
  return p;
}

TEST(Checkpoint, IsReadByAnyOtherLayout) {
  const std::vector<Layout> layouts{
      {}, {.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1}, {.dp = 4, .zero = 3}, {.dp = 2, .pp = 2, .schedule = "dualpipe"}, {.dp = 2, .tp = 4}};
  for (const Model& model : {tiny_llama(), tiny_gpt2()})
    for (const Layout& from : layouts) {
      const TemporaryFolder folder;
      const Plan plan = plan_of(from);
      save(compiled(model, plan, from.dp), model, plan,
           {.folder = folder.path(), .in_background = from.tp > 1, .most_bytes = from.tp > 1 ? 5000 : 5'000'000}, 3);
      for (const Layout& to : layouts) {
        Plan other = plan_of(to);
        other.batch.global = plan.batch.global;
        expect_loaded(folder.path(), compiled(model, other, to.dp), model, other, model.name + ": " + name(from) + " to " + name(to));
      }
    }
}

TEST(Checkpoint, OfExpertsIsReadByOtherRanksOfExperts) {
  for (const Model& model : {tiny_mixture(), tiny_deepseek()}) {
    const TemporaryFolder folder;
    const Layout from{.dp = 4, .zero = 1, .ep = 4}, to{.dp = 2, .tp = 2, .sp = true, .data = "robin", .ep = 2};
    save(compiled(model, plan_of(from), from.dp), model, plan_of(from), {.folder = folder.path()}, 1);
    Plan other = plan_of(to);
    other.batch.global = plan_of(from).batch.global;
    expect_loaded(folder.path(), compiled(model, other, to.dp), model, other, model.name);
  }
}

TEST(Checkpoint, KeepsTheExactNumbersBehindNarrowParameters) {
  const Model model = tiny_llama();
  const Layout one, several{.dp = 2, .tp = 2, .zero = 1};
  const TemporaryFolder narrow_folder, wide_folder;
  save(compiled(model, half(plan_of(several)), 2), model, half(plan_of(several)), {.folder = narrow_folder.path()}, 2);
  save(compiled(model, plan_of(several), 2), model, plan_of(several), {.folder = wide_folder.path()}, 2);
  Plan plan = plan_of(one);
  plan.batch.global = plan_of(several).batch.global;
  const SafetensorsFile stored(narrow_folder.path() / "step-00000002" / "model.safetensors");
  EXPECT_EQ(stored.find("lm_head.weight")->type, StoredType::bf16);
  for (const fs::path& folder : {narrow_folder.path(), wide_folder.path()})
    for (const Plan& to : {plan, half(plan)}) expect_loaded(folder, compiled(model, to, 1), model, to, folder.string());
}

TEST(Checkpoint, TheLastCompleteOneIsKeptAndOlderOnesGo) {
  const Model model = tiny_llama();
  const Plan plan = plan_of({});
  const program::Program program = compiled(model, plan, 1);
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "step-00000009.partial");
  fs::create_directories(folder.path() / "mine");
  Memory memory(program, 0);
  memory.fill();
  CheckpointWriter writer(program, model, plan, "text", {.folder = folder.path()});
  EXPECT_FALSE(fs::exists(folder.path() / "step-00000009.partial"));
  EXPECT_FALSE(newest_checkpoint(folder.path()));
  for (const std::int64_t steps : {5, 10, 15}) writer.save(steps, 0, memory.fetch());
  writer.finish();
  EXPECT_EQ(newest_checkpoint(folder.path()), folder.path() / "step-00000015");
  EXPECT_FALSE(fs::exists(folder.path() / "step-00000005"));
  EXPECT_FALSE(fs::exists(folder.path() / "step-00000010"));
  EXPECT_TRUE(fs::exists(folder.path() / "mine"));
}

TEST(Checkpoint, AHalfWrittenOneIsNone) {
  const Model model = tiny_llama();
  const Layout l{.dp = 2};
  const program::Program program = compiled(model, plan_of(l), l.dp);
  const TemporaryFolder folder;
  {
    CheckpointWriter writer(program, model, plan_of(l), "text", {.folder = folder.path(), .ranks_here = 2});
    Memory first(program, 0), second(program, 1);
    first.fill(), second.fill();
    writer.save(1, 0, first.fetch());
    writer.save(1, 1, second.fetch());
    writer.finish();
    writer.save(2, 0, first.fetch());  // and rank 1 dies
    EXPECT_EQ(newest_checkpoint(folder.path()), folder.path() / "step-00000001");
  }
  EXPECT_EQ(newest_checkpoint(folder.path()), folder.path() / "step-00000001");
  EXPECT_FALSE(fs::exists(folder.path() / "step-00000002.partial"));
}

TEST(Checkpoint, SeveralProcessesWriteOneTogether) {
  const Model model = tiny_llama();
  const Layout l{.dp = 2, .tp = 2, .zero = 1};
  const program::Program program = compiled(model, plan_of(l), l.dp);
  const TemporaryFolder folder;
  std::vector<std::unique_ptr<CheckpointWriter>> processes;
  for (std::int64_t p = 0; p < 4; ++p)
    processes.push_back(std::make_unique<CheckpointWriter>(
        program, model, plan_of(l), "text", CheckpointWriter::Settings{.folder = folder.path(), .most_bytes = 20000, .process = p, .processes = 4}));
  for (const std::int64_t steps : {4, 8}) {
    std::vector<std::thread> threads;
    for (std::int64_t r = 0; r < 4; ++r)
      threads.emplace_back([&, r] {
        Memory memory(program, r);
        memory.fill();
        processes[static_cast<std::size_t>(r)]->save(steps, r, memory.fetch());
        processes[static_cast<std::size_t>(r)]->finish();
      });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(newest_checkpoint(folder.path())->filename(), fmt::format("step-{:08}", steps));
  }
  expect_loaded(folder.path(), program, model, plan_of(l), "processes");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator{}), 1);
}

// Process 0 finds that both have written; before it does anything, process 1 finds so too and completes the checkpoint.
TEST(Checkpoint, OneOfTheProcessesThatFindThemselvesTheLastCompletesIt) {
  const Model model = tiny_llama();
  const Layout l{.dp = 2, .zero = 1};
  const program::Program program = compiled(model, plan_of(l), l.dp);
  const TemporaryFolder folder;
  const auto save_as = [&](CheckpointWriter& process, std::int64_t rank) {
    Memory memory(program, rank);
    memory.fill();
    process.save(4, rank, memory.fetch());
  };
  CheckpointWriter::Settings settings{.folder = folder.path(), .in_background = false, .process = 1, .processes = 2};
  CheckpointWriter second(program, model, plan_of(l), "text", settings);
  int found = 0;
  settings.process = 0;
  settings.all_have_written = [&] {
    ++found;
    save_as(second, 1);
  };
  CheckpointWriter first(program, model, plan_of(l), "text", settings);
  fs::create_directories(folder.path() / "step-00000004.partial");
  folder.write("step-00000004.partial/.written-1", "");  // as if process 1 stood between its mark and its look at the others'
  save_as(first, 0);
  EXPECT_EQ(found, 1);
  EXPECT_EQ(second.last(), 4);
  expect_loaded(folder.path(), program, model, plan_of(l), "two that are the last");
  for (const auto& entry : fs::directory_iterator(folder.path() / "step-00000004")) EXPECT_NE(entry.path().filename().string().front(), '.');
}

TEST(Checkpoint, AFolderWithALaterOneIsRefused) {
  const Model model = tiny_llama();
  const Plan plan = plan_of({});
  const program::Program program = compiled(model, plan, 1);
  const TemporaryFolder folder;
  save(program, model, plan, {.folder = folder.path()}, 6);
  const auto begun = [&](const fs::path& to, std::int64_t first_step, std::int64_t process) {
    return refusal(
        [&] { CheckpointWriter(program, model, plan, "text", {.folder = to, .process = process, .processes = 2, .first_step = first_step}); });
  };
  for (const std::int64_t process : {0, 1}) {
    EXPECT_THAT(begun(folder.path(), 0, process),
                HasSubstr("step-00000006 is there, which this run would leave as the newest: it begins after 0 steps"));
    EXPECT_THAT(begun(folder.path(), 5, process), HasSubstr("--resume " + (folder.path() / "step-00000006").string()));
    EXPECT_EQ(begun(folder.path(), 6, process), "accepted");
    EXPECT_THAT(begun(folder.path() / "step-00000006", 6, process), HasSubstr("is a checkpoint itself"));
  }
}

TEST(Checkpoint, ABrokenDiskIsSaidAndEndsTheRun) {
  const Model model = tiny_llama();
  const program::Program program = compiled(model, plan_of({}), 1);
  const TemporaryFolder folder;
  const std::string file = folder.write("file", "x");
  EXPECT_THAT(refusal([&] { CheckpointWriter(program, model, plan_of({}), "text", {.folder = file}); }), HasSubstr("cannot be written"));
  CheckpointWriter writer(program, model, plan_of({}), "text", {.folder = folder.path() / "deep" / "folder"});
  fs::remove_all(folder.path() / "deep");
  folder.write("deep", "in the way");
  Memory memory(program, 0);
  EXPECT_THAT(refusal([&] { writer.save(1, 0, memory.fetch()); }), HasSubstr("cannot be written"));
}

TEST(Checkpoint, OfAnotherRunIsRefused) {
  const Model model = tiny_llama();
  const Plan plan = plan_of({});
  const program::Program program = compiled(model, plan, 1);
  const TemporaryFolder folder;
  EXPECT_THAT(refusal([&] { CheckpointReader::to_resume(folder.path(), program, model, plan, "text"); }), HasSubstr("holds no complete checkpoint"));
  EXPECT_THAT(refusal([&] { CheckpointReader::to_resume(folder.path() / "no", program, model, plan, "text"); }), HasSubstr("does not exist"));
  save(program, model, plan, {.folder = folder.path()}, 6);
  const auto refused = [&](auto change) {
    Plan other = plan;
    std::string data = "text";
    change(other, data);
    return refusal([&] { CheckpointReader::to_resume(folder.path(), program, model, other, data); });
  };
  EXPECT_EQ(refused([](Plan&, std::string&) {}), "accepted");
  EXPECT_THAT(refused([](Plan& p, std::string&) { p.seed = 2; }), HasSubstr("--set seed=1"));
  EXPECT_THAT(refused([](Plan& p, std::string&) { p.batch.global *= 2; }), HasSubstr(fmt::format("--global-batch {}", plan.batch.global)));
  EXPECT_THAT(refused([](Plan&, std::string& d) { d = "other"; }), HasSubstr("its run read 'text', this one reads 'other'"));
  EXPECT_THAT(refused([](Plan& p, std::string&) { p.optimizer.kind = "sgd"; }), HasSubstr("its optimizer was adamw"));

  Model renamed = model, shallow = model;
  renamed.name = "another";
  EXPECT_THAT(refusal([&] { CheckpointReader::to_resume(folder.path(), program, renamed, plan, "text"); }),
              HasSubstr("its model was tiny-llama, this one is another"));
  shallow.layers = 1;
  EXPECT_THAT(refusal([&] { CheckpointReader::to_resume(folder.path(), compiled(shallow, plan, 1), shallow, plan, "text"); }),
              HasSubstr("has 'model.layers.1.input_layernorm.weight', for which this run's tiny-llama has no place"));

  Model wide = model;
  wide.vocab = 62;
  const program::Program other = compiled(wide, plan, 1);
  Memory memory(other, 0);
  EXPECT_THAT(refusal([&] { CheckpointReader::to_resume(folder.path(), other, wide, plan, "text")->load(other, wide, 0, memory.store()); }),
              HasSubstr("is 61 x 32, but tiny-llama has 62 x 32 there"));
}

TEST(Checkpoint, InfoIsReadBack) {
  const CheckpointInfo info{"llama", "adamw", 7, 56, 0xffffffffffffffffULL, "a \"text\""};
  EXPECT_EQ(read_checkpoint_info(write_checkpoint_info(info), "x"), info);
  EXPECT_THAT(refusal([] { read_checkpoint_info(R"({"orrery":"checkpoint/2"})", "x"); }), HasSubstr("not a version"));
  EXPECT_THAT(refusal([] {
                read_checkpoint_info(
                    R"({"orrery":"checkpoint/1","model":"m","optimizer":"sgd","steps":1,"samples":1,"seed":"18446744073709551616","data":""})", "x");
              }),
              HasSubstr("is not a seed"));
}

TEST(Weights, OfHuggingFaceBeginARun) {
  // A file without our mark, and without the prefix that all of its names could have.
  const Model model = tiny_gpt2();
  const Plan plan = plan_of({});
  const program::Program program = compiled(model, plan, 1);
  const TemporaryFolder folder, own;
  save(program, model, plan, {.folder = own.path()}, 1);
  const SafetensorsFile from(own.path() / "step-00000001" / "model.safetensors");
  SafetensorsHeader header = from.header();
  header.metadata = {{"format", "pt"}};
  for (StoredTensor& t : header.tensors) t.name = t.name.substr(std::string_view("transformer.").size());
  std::string bytes = write_safetensors_header(header);
  for (const StoredTensor& t : from.header().tensors) {
    std::vector<float> values(static_cast<std::size_t>(t.elements()));
    from.read(t, 0, values);
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  }
  const std::string path = folder.write("model.safetensors", bytes);
  for (const fs::path& named : {fs::path(path), folder.path(), own.path()}) {
    const auto reader = CheckpointReader::to_begin(named, model);
    Memory memory(program, 0);
    std::vector<std::int32_t> stored;
    reader->load(program, model, 0, [&](std::int32_t buffer, std::int64_t at, const void* values, std::int64_t n) {
      stored.push_back(buffer);
      memory.store()(buffer, at, values, n);
    });
    EXPECT_THAT(stored, testing::Each(state_buffers(program.roles[0]).parameters));  // and no states
  }
  EXPECT_THAT(refusal([&] { CheckpointReader::to_begin(path, tiny_deepseek()); }), HasSubstr("not built yet: DeepSeek's published weights"));
  EXPECT_THAT(refusal([&] { CheckpointReader::to_begin(folder.path() / "none", model); }), HasSubstr("does not exist"));
}

}  // namespace
}  // namespace orrery::executor
