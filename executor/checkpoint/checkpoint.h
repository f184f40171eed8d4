// Checkpoints: what a run needs to go on later, on the same ranks or on others. A folder step-00000100 has the parameters (model.safetensors, or
// several files and their index, as Hugging Face has them), the optimizer's states (optimizer.safetensors: m.NAME, v.NAME and master.NAME) and
// checkpoint.json.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/model.h"
#include "core/plan.h"
#include "executor/checkpoint/safetensors.h"
#include "executor/checkpoint/state.h"
#include "program/program.h"

namespace orrery::executor {

// checkpoint.json: where the run was.
struct CheckpointInfo {
  std::string model, optimizer;  // Model::name, OptimizerSpec::kind
  std::int64_t steps = 0;        // completed
  std::int64_t samples = 0;      // sequences that these took: the number of the next one
  std::uint64_t seed = 0;        // of the plan
  std::string data;              // TokenSource::description
  bool operator==(const CheckpointInfo&) const = default;
};
std::string write_checkpoint_info(const CheckpointInfo& info);
CheckpointInfo read_checkpoint_info(std::string_view text, const std::string& file);

// The newest complete checkpoint under `folder`, which may be one itself; nothing where there is none.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& folder);

// Copies `bytes` of a rank's buffer, from byte `from` of it on, to the host's memory.
using Fetch = std::function<void(void* to, std::int32_t buffer, std::int64_t from, std::int64_t bytes)>;
// The other way round.
using Store = std::function<void(std::int32_t buffer, std::int64_t to, const void* from, std::int64_t bytes)>;

// Writes the checkpoints of a run; its methods may be called from several threads at once. A checkpoint is complete when its folder has its name:
// until then that ends in ".partial", and the one before it is kept. Several processes write into the same files, each its ranks' parts, and need no
// other way to each other than the file system that they share.
class CheckpointWriter {
 public:
  struct Settings {
    std::filesystem::path folder;
    bool in_background = true;                 // ranks go on once their state has been copied
    std::int64_t most_bytes = 5'000'000'000;   // of one file, unless a single tensor has more: Hugging Face's custom
    std::int64_t ranks_here = 1;               // of this process
    std::int64_t process = 0, processes = 1;   // process 0 clears away what an earlier run left half written
    std::int64_t first_step = 0;               // steps that the run begins with: a folder with a later checkpoint is another run's
    std::function<void()> all_have_written{};  // called by each process that finds so, before it completes the checkpoint; for tests
  };
  // Makes the folder where it does not exist. Throws Error where nothing can be written there, a later checkpoint than the run begins with would stay
  // the newest there, or the program's state is never whole between steps.
  CheckpointWriter(const program::Program& program, const Model& model, const Plan& plan, std::string data, Settings settings);
  // Removes what is not complete.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Called by each rank of this process after the same `steps` completed steps. Throws what writing the checkpoint before threw.
  void save(std::int64_t steps, std::int64_t rank, const Fetch& fetch);
  // Blocks until what was begun is complete; throws what writing threw.
  void finish();
  // Makes whoever waits here, and all later calls, fail.
  void abort();
  // The steps of the last one that is complete, of this run.
  std::optional<std::int64_t> last() const;

 private:
  struct Set;      // the files of the parameters, or of the states
  struct Pending;  // a checkpoint that is being written
  struct Piece;    // a stretch and its bytes
  void begin(std::int64_t steps);
  std::vector<Piece> pieces(std::int64_t rank, const Fetch& fetch) const;
  void write(const std::vector<Piece>& pieces);
  void complete();
  std::filesystem::path folder_of(std::int64_t steps) const;

  const program::Program& program_;
  const Model& model_;
  const Settings settings_;
  CheckpointInfo info_;
  std::int64_t batch_;
  std::vector<Set> sets_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Pending> pending_;
  std::map<std::int64_t, std::future<void>> writing_;  // by rank
  std::exception_ptr failure_;
  bool aborted_ = false;
  std::optional<std::int64_t> last_;
};

// Throws Error where checkpoints of this program cannot be made: its pipeline is never empty between steps, or an update may still be taken back.
void refuse_checkpoints(const program::Program& program);

// Tensors of several files, by name.
class WeightFiles {
 public:
  // NAME.safetensors or, beside it, NAME.safetensors.index.json; null where neither exists.
  static std::unique_ptr<WeightFiles> open(const std::filesystem::path& folder, const std::string& name);
  // One file of tensors, or one index.
  explicit WeightFiles(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // Whether Orrery wrote them.
  bool own() const;
  std::vector<std::string> tensors() const;  // in order of their names
  std::pair<const SafetensorsFile*, const StoredTensor*> find(const std::string& tensor) const;

 private:
  std::filesystem::path path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, std::size_t> file_of_;
};

// What a run begins with instead of random numbers.
class CheckpointReader {
 public:
  // `path`: a checkpoint, or a folder of them, of which the newest is taken. Throws Error where it is none, or of a run that this is no continuation
  // of: another model, seed, batch or text, with tensors that the program has no place for, or without the states that the optimizer needs.
  static std::unique_ptr<CheckpointReader> to_resume(const std::filesystem::path& path, const program::Program& program, const Model& model,
                                                     const Plan& plan, const std::string& data);
  // Parameters alone: of a checkpoint, of a folder of Hugging Face's, or of one file.
  static std::unique_ptr<CheckpointReader> to_begin(const std::filesystem::path& path, const Model& model);

  const CheckpointInfo& info() const { return info_; }  // of to_resume()
  const std::filesystem::path& path() const { return path_; }
  // Fills the parameters of a rank, their masters and, where the states are here, those. Throws Error where a tensor is missing or of another shape.
  void load(const program::Program& program, const Model& model, std::int64_t rank, const Store& store) const;

 private:
  CheckpointReader() = default;
  std::filesystem::path path_;
  CheckpointInfo info_;
  std::unique_ptr<WeightFiles> parameters_, states_;
};

}  // namespace orrery::executor
