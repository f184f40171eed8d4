#include "executor/run.h"

#include <fmt/format.h>
#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "executor/rank.h"
#include "program/check.h"
#include "program/memory.h"

namespace orrery::executor {
namespace {

using program::Instruction;
using program::Opcode;
using program::Operator;
using program::Program;

// Recent steps are kept whole until they take this much, so that the one nearest to the median can be shown.
constexpr std::size_t kRecordBytes = std::size_t{64} << 20U;

bool runtime_does(Operator op) {
  return program::is_communication(op) || op == Operator::load_tokens || op == Operator::load_targets || op == Operator::wait;
}

void refuse_what_nothing_executes(const Program& program, const Model& model, const World& world) {
  if (!model.simulate_only.empty())
    throw Error("model", fmt::format("'{}' can be simulated but not run: {}", model.name, model.simulate_only),
                "e.g. cpu-llama-small; 'orrery show models' marks those that are simulated only");
  for (const program::Role& role : program.roles) {
    for (const Instruction& in : role.instructions) {
      const program::StreamDecl& stream = program.streams[in.stream];
      if (stream.kind != program::StreamKind::compute && stream.kind != program::StreamKind::comm)
        throw Error("plan", fmt::format("stream '{}' is neither for compute nor for communication; this executor has no such stream", stream.name));
      const program::Shape& shape = program.shapes[in.shape];
      if (runtime_does(in.op)) continue;
      if (!world.has(shape))
        throw Error("plan", fmt::format("there is no kernel for {} in {} ({} needs it)", program::name(in.op), name(shape.dtype), role.name),
                    shape.dtype == DType::fp32 ? "" : "set precision.compute, params, grads and optimizer to fp32");
    }
    for (const program::Buffer& b : role.buffers)
      if (b.space != program::Space::device || b.load != program::kNone)
        throw Error("plan", fmt::format("buffer '{}' is not plain memory of the device; this executor has no other", b.name));
  }
}

// Whether the last step is like no other, so that ranks must know which one it is.
bool ends_otherwise(const Program& program) {
  return std::any_of(program.roles.begin(), program.roles.end(), [](const program::Role& role) { return !role.epilogue.empty(); });
}

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(std::int64_t{1} << 30U); }

// What ranks report and agree upon.
class Progress {
 public:
  Progress(const Program& program, const RunOptions& options) : program_(program), options_(options) {}

  // Every rank gets the same answer for the same step.
  bool goes_on(std::int64_t step) {
    const std::lock_guard lock(mutex_);
    while (static_cast<std::int64_t>(decisions_.size()) <= step) {
      const auto next = static_cast<std::int64_t>(decisions_.size());
      const bool cancel = options_.cancel && options_.cancel->load();
      if (cancel && next < options_.steps && !cancelled_at_) cancelled_at_ = next;
      decisions_.push_back(next < options_.steps && !cancel && !cancelled_at_);
    }
    return decisions_[static_cast<std::size_t>(step)];
  }

  void finished(std::int64_t step, RankRunner& rank) {
    const double loss = rank.take_loss(), norm = rank.squared_gradient_norm();
    const StepRecord& record = rank.records().back();
    const std::lock_guard lock(mutex_);
    while (static_cast<std::int64_t>(steps_.size()) <= step) {
      steps_.emplace_back();
      // Of the stage that computes it: the last.
      steps_.back().loss.resize(static_cast<std::size_t>(program_.mesh_at(program_.ranks() - 1).extent(program::kReplicaAxes)));
    }
    Step& s = steps_[static_cast<std::size_t>(step)];
    const program::Coordinates& c = rank.coordinates();
    const program::Mesh& mesh = rank.mesh();
    if (mesh.place(c, program::kTpAxis) == 0 && rank.role().loss_buffer >= 0)
      s.loss[static_cast<std::size_t>(mesh.place(c, program::kReplicaAxes))] += loss;  // both ends of a mirrored pipeline have some
    if (program_.update_every == 0)  // the same on every rank, or, with post-validation, whole on the last stage only
      s.norm = std::isnan(norm) ? norm : std::max(s.norm, norm);
    else if (mesh.place(c, program::kTpAxis) == 0 && mesh.place(c, program::kReplicaAxes) == 0)
      s.norm += norm;  // of this stage's last update
    s.begin = std::min(s.begin, record.begin_ns);
    s.end = std::max(s.end, record.end_ns);
    s.peak = std::max(s.peak, rank.memory().peak_live);
    s.timed = record.timed;
    if (++s.ranks == program_.ranks()) changed_.notify_all();
  }

  void fail(std::int64_t rank, std::exception_ptr why) {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(why);
    failed_rank_ = rank;
  }
  bool failed() {
    const std::lock_guard lock(mutex_);
    return failure_ != nullptr;
  }
  void left() {
    const std::lock_guard lock(mutex_);
    ++left_;
    changed_.notify_all();
  }

  // Blocks until step number `step` is complete on all ranks, or (empty) all ranks have left without it.
  std::optional<StepReport> wait_for(std::int64_t step) {
    std::unique_lock lock(mutex_);
    const auto complete = [&] {
      return static_cast<std::int64_t>(steps_.size()) > step && steps_[static_cast<std::size_t>(step)].ranks == program_.ranks();
    };
    changed_.wait(lock, [&] { return complete() || left_ == program_.ranks(); });
    if (!complete()) return std::nullopt;
    const Step& s = steps_[static_cast<std::size_t>(step)];
    const double tokens = static_cast<double>(program_.global_batch * program_.sequence);
    StepReport r;
    r.step = step;
    for (const double loss : s.loss) r.loss += loss;
    r.loss /= tokens;
    r.gradient_norm = std::sqrt(s.norm);
    const std::int64_t from = step == 0 ? s.begin : steps_[static_cast<std::size_t>(step - 1)].end;
    r.period = Seconds{static_cast<double>(s.end - from) * 1e-9};
    r.tokens_per_second = tokens / r.period.v;
    r.peak_live = s.peak;
    r.timed = s.timed;
    return r;
  }

  // Throws what the first failing rank threw, with the rank's name.
  void rethrow() {
    if (!failure_) return;
    const std::string where = fmt::format("rank {}", failed_rank_);
    try {
      std::rethrow_exception(failure_);
    } catch (const Error& e) {
      throw Error(where, e.where().empty() ? e.message() : fmt::format("{}: {}", e.where(), e.message()), e.hint());
    } catch (const std::bad_alloc&) {
      throw Error(where, "there is not enough memory for its buffers", "take a smaller micro-batch, more stages or recomputation");
    } catch (const std::exception& e) {
      throw Error(where, e.what());
    }
  }
  bool cancelled() const { return cancelled_at_.has_value(); }

 private:
  struct Step {
    std::vector<double> loss;  // local sums, by place among the ranks that hold the same parameters
    double norm = 0;
    std::int64_t begin = std::numeric_limits<std::int64_t>::max(), end = 0, peak = 0;
    std::int64_t ranks = 0;
    bool timed = true;
  };
  const Program& program_;
  const RunOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> decisions_;
  std::optional<std::int64_t> cancelled_at_;
  std::vector<Step> steps_;
  std::exception_ptr failure_;
  std::int64_t failed_rank_ = -1;
  std::int64_t left_ = 0;
};

std::vector<WorkClass> kind_classes(const Program& program) {
  std::vector<WorkClass> classes;
  for (const program::Shape& shape : program.shapes) {
    const WorkClass axis = shape.group == program::kNone ? WorkClass::pp_comm : program.group_class[shape.group];
    classes.push_back(program::work_class(shape.op, axis));
    classes.push_back(WorkClass::optimizer);
  }
  return classes;
}

Seconds median(std::vector<Seconds> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) * 0.5;
}

// Puts the ranks' records of one step together.
void lay_out_timeline(const Program& program, bool last, const RunOptions& options, const std::vector<WorkClass>& classes,
                      const std::vector<const StepRecord*>& records, Seconds period, RunResult& result) {
  Timeline& t = result.timeline;
  t.step = to_picoseconds(period);
  for (const program::StreamDecl& s : program.streams) t.streams.push_back(s.name);
  std::int64_t origin = std::numeric_limits<std::int64_t>::max();
  for (const StepRecord* r : records) origin = std::min(origin, r->begin_ns);
  const Picoseconds zero{origin * 1000};

  std::vector<std::uint32_t> kind(classes.size(), std::numeric_limits<std::uint32_t>::max());
  const auto kind_of = [&](std::uint32_t k) {
    if (kind[k] != std::numeric_limits<std::uint32_t>::max()) return kind[k];
    kind[k] = static_cast<std::uint32_t>(t.kinds.size());
    const program::Shape& shape = program.shapes[k / 2];
    SpanKind out;
    out.name = program::name(shape.op);
    out.work = classes[k];
    out.flops = program::flops(shape).v;
    out.bytes = program::is_communication(shape.op) ? shape.bytes : program::traffic(shape).v;
    if (options.peak.v > 0 && out.flops > 0) out.ideal = to_picoseconds(Flops{out.flops} / options.peak);
    t.kinds.push_back(std::move(out));
    return kind[k];
  };

  // By source, destination, channel, and the micro-batch of this step or of a later one.
  std::map<std::tuple<std::int64_t, std::int64_t, std::uint8_t, std::uint32_t>, std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>>
      messages;
  WaterfallBuilder waterfall(records.size());
  for (std::size_t r = 0; r < records.size(); ++r) {
    const auto rank = static_cast<std::int64_t>(r);
    const program::Role& role = program.role_of(rank);
    t.ranks.push_back(program::label(program, rank));
    std::vector<Span> spans = records[r]->spans;
    std::stable_sort(spans.begin(), spans.end(),
                     [](const Span& a, const Span& b) { return std::tie(a.stream, a.start) < std::tie(b.stream, b.start); });
    for (Span& span : spans) {
      span.start -= zero;
      span.end -= zero;
      span.kind = kind_of(span.kind);
      const SpanKind& k = t.kinds[span.kind];
      if (span.stream == program::kComputeStream)
        waterfall.add(span.rank, k.work, span.recompute, k.ideal, span.end - span.start, span.cause, span.waited, span.transfer);
      const program::PassInstance& instance = (last ? role.epilogue : role.body)[span.pass];
      const Instruction& in = role.instructions[role.passes[instance.pass].first + span.instruction];
      if (in.opcode == Opcode::send || in.opcode == Opcode::recv) {
        const std::int64_t peer = program::peer_of(program, rank, in);
        const bool sends = in.opcode == Opcode::send;
        auto& both = messages[{sends ? rank : peer, sends ? peer : rank, in.channel, std::uint32_t{instance.ahead} << 16U | instance.of(in)}];
        (sends ? both.first : both.second).push_back(static_cast<std::uint32_t>(t.spans.size()));
      }
      t.spans.push_back(span);
    }
    for (MemorySample m : records[r]->memory) {
      m.time -= zero;
      t.memory.push_back(m);
    }
  }
  for (const auto& [key, both] : messages)
    for (std::size_t k = 0; k < std::min(both.first.size(), both.second.size()); ++k) t.flows.push_back({both.first[k], both.second[k]});
  result.waterfall = waterfall.finish(t.step, std::vector<std::int64_t>(records.size(), 1), program.roles.size() > 1);
}

// Adds one rank's shards to the global tensors.
void collect_parameters(const Program& program, RankRunner& rank, RunResult& result) {
  const std::vector<float> held_values = rank.parameters();
  rank.for_each_held([&](const program::Parameter& p, std::int64_t first, std::int64_t count, std::int64_t held) {
    std::vector<float>& global = result.parameters[p.name];
    if (global.empty()) global.assign(static_cast<std::size_t>(p.global_rows * p.global_cols), std::numeric_limits<float>::quiet_NaN());
    const auto [row0, col0] = program::origin(p, rank.coordinates(), program.experts_of(p.layer));
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = row0 + (first + i) / p.cols, col = col0 + (first + i) % p.cols;
      if (row >= p.global_rows || col >= p.global_cols) continue;
      const float mine = held_values[static_cast<std::size_t>(held + i)];
      float& theirs = global[static_cast<std::size_t>(row * p.global_cols + col)];
      if (!std::isnan(theirs))
        result.replica_difference = std::max(result.replica_difference, std::abs(static_cast<double>(mine) - static_cast<double>(theirs)));
      theirs = mine;
    }
  });
}

// What the members of each group that shares experts sent to each expert together.
std::vector<program::LayerLine> dispatches(const Program& program, const std::vector<std::unique_ptr<RankRunner>>& runners) {
  const program::Group sharing{.axes = static_cast<program::AxisMask>(program::mask(program::Axis::etp) | program::mask(program::Axis::ep))};
  std::map<std::tuple<std::uint16_t, std::int64_t, std::uint16_t, std::int64_t>, std::vector<double>> sums;
  for (std::size_t r = 0; r < runners.size(); ++r) {
    const std::int64_t first = program::first_member(program.mesh, sharing, static_cast<std::int64_t>(r));
    for (const auto& [dispatch, counts] : runners[r]->routed()) {
      std::vector<double>& sum = sums[{dispatch.layer, dispatch.step, dispatch.microbatch, first}];
      sum.resize(counts.size());
      for (std::size_t e = 0; e < counts.size(); ++e) sum[e] += counts[e];
    }
  }
  std::vector<program::LayerLine> out;
  out.reserve(sums.size());
  for (const auto& [key, sum] : sums) out.push_back({std::get<0>(key), sum});
  return out;
}

}  // namespace

RunResult run(const Program& program, const Model& model, const Plan& plan, const TokenSource& source, const RunOptions& options) {
  const std::int64_t ranks = program.ranks();
  if (options.steps < 1) throw Error("--steps", fmt::format("{} steps cannot be run", options.steps), "ask for at least one");
  if (ranks > options.most_ranks)
    throw Error("plan", fmt::format("has {} ranks; this executor runs at most {} as threads of one machine", ranks, options.most_ranks),
                "take a smaller cluster, or simulate it");
  const std::unique_ptr<KernelSet> kernels = options.world ? nullptr : make_cpu_kernels();
  const std::unique_ptr<World> own = options.world ? nullptr : make_host_world(ranks, *kernels);
  World& world = options.world ? *options.world : *own;
  assert(world.ranks() == ranks);
  refuse_what_nothing_executes(program, model, world);
  if (const auto broken = program::check(program); !broken.empty())
    throw Error("program", fmt::format("{}: {}", program::name(broken.front().rule), broken.front().what));
  if (source.vocabulary() > model.vocab)
    throw Error("--data", fmt::format("has tokens up to {}, but the model's vocabulary has {}", source.vocabulary() - 1, model.vocab),
                "take a model with a larger vocabulary");

  std::vector<program::MemoryReport> predicted;
  std::int64_t bytes = 0;
  std::size_t spans = 1;
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    const program::Role& role = program.roles[r];
    const std::int64_t alike = program.ranks_of_role(r);
    predicted.push_back(program::memory(program, role));
    bytes += predicted.back().arena * alike;
    for (const program::PassInstance& p : role.body) spans += role.passes[p.pass].count * static_cast<std::size_t>(alike);
  }
  if (const std::int64_t room = world.memory(); room > 0 && bytes > room)
    throw Error("plan", fmt::format("its {} ranks need {:.1f} GiB together, this machine has {:.1f} GiB", ranks, gib(bytes), gib(room)),
                "take a smaller model or micro-batch, recompute, or simulate it");

  if (options.peak.v > 0) {
    double busiest = 0;
    for (const program::Role& role : program.roles) {
      double flops = 0;
      for (const program::PassInstance& p : role.body)
        for (std::uint32_t i = 0; i < role.passes[p.pass].count; ++i) {
          const Instruction& in = role.instructions[role.passes[p.pass].first + i];
          if (in.opcode == Opcode::compute) flops += program::flops(program.shapes[in.shape]).v;
        }
      busiest = std::max(busiest, flops);
    }
    if (to_picoseconds(Flops{2 * busiest} / options.peak) == kForever)  // twice: sums of parts that were rounded up
      throw Error("peak", fmt::format("at {:.2g} FLOP/s a step's ideal time is longer than can be counted (106 days)", options.peak.v),
                  "measure this machine: orrery profile -o profile.json");
  }

  const std::vector<WorkClass> classes = kind_classes(program);
  const std::size_t kept = std::clamp<std::size_t>(kRecordBytes / (spans * (sizeof(Span) + sizeof(MemorySample))), 2, 256);
  const std::int64_t origin = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::vector<RankRunner::Setting> settings;
  settings.reserve(predicted.size());
  for (const program::MemoryReport& m : predicted) settings.push_back({program, model, plan, source, options, origin, m.arena, kept, classes});

  RunResult result;
  Progress progress(program, options);
  std::vector<std::unique_ptr<RankRunner>> runners(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        std::unique_ptr<Device> device = world.device(r);
        const std::unique_ptr<Communicator> communicator = world.communicator(r, *device);
        try {
          const std::size_t stage = program.stage_of(r);
          auto& runner = runners[static_cast<std::size_t>(r)];
          runner = std::make_unique<RankRunner>(settings[stage], r, std::move(device), *communicator);
          for (std::int64_t step = 0; progress.goes_on(step); ++step) {
            const bool last = ends_otherwise(program) && !progress.goes_on(step + 1);
            runner->step(step, last);
            progress.finished(step, *runner);
          }
          runner->finish();
        } catch (...) {
          // Before the others are told, so that what they then throw is not taken for the cause.
          progress.fail(r, std::current_exception());
          communicator->abort(fmt::format("rank {} failed", r));
        }
      } catch (...) {
        progress.fail(r, std::current_exception());
        world.abort(fmt::format("rank {} failed", r));
      }
      progress.left();
    });

  std::exception_ptr thrown;
  try {
    while (const auto report = progress.wait_for(static_cast<std::int64_t>(result.steps.size()))) {
      result.steps.push_back(*report);
      if (options.progress) options.progress(*report);
    }
  } catch (...) {
    thrown = std::current_exception();
    world.abort("the caller gave up");
  }
  for (std::thread& t : threads) t.join();
  if (thrown) std::rethrow_exception(thrown);
  progress.rethrow();

  result.cancelled = progress.cancelled();
  for (const auto& runner : runners) result.memory.push_back(runner->memory());
  result.redone = runners.front()->redone();
  if (options.keep_parameters)
    for (const auto& runner : runners) collect_parameters(program, *runner, result);
  if (model.moe) result.expert_load = dispatches(program, runners);
  result.timeline.origin = "measured";
  if (result.steps.empty()) return result;

  const std::size_t done = result.steps.size(), skipped = std::min(static_cast<std::size_t>(std::max<std::int64_t>(options.warm_up, 0)), done - 1);
  std::vector<Seconds> periods, untimed;
  for (std::size_t i = skipped; i < done; ++i) (result.steps[i].timed ? periods : untimed).push_back(result.steps[i].period);
  result.step_time = median(std::move(untimed.empty() ? periods : untimed));
  const bool drains = ends_otherwise(program);
  const std::size_t whole = drains && done > 1 ? done - 1 : done;
  const auto& kept_records = runners.front()->records();
  std::size_t shown = done;
  for (std::size_t i = std::min(skipped, whole - 1); i < done; ++i) {
    const auto distance = [&](std::size_t k) { return std::abs(result.steps[k].period.v - result.step_time.v); };
    if (kept_records[i].timed && (shown == done || (i < whole && distance(i) < distance(shown)))) shown = i;
  }
  if (shown == done) return result;  // cancelled before any step was timed
  result.timeline_step = static_cast<std::int64_t>(shown);
  std::vector<const StepRecord*> records;
  records.reserve(runners.size());
  for (const auto& runner : runners) records.push_back(&runner->records()[shown]);
  lay_out_timeline(program, drains && shown + 1 == done, options, classes, records, result.steps[shown].period, result);
  return result;
}

}  // namespace orrery::executor
