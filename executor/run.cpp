#include "executor/run.h"

#include <fmt/format.h>
#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <exception>
#include <limits>
#include <optional>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "executor/checkpoint/checkpoint.h"
#include "executor/comm/bytes.h"
#include "executor/kernels/low_precision.h"
#include "executor/progress.h"
#include "executor/rank.h"
#include "executor/step_timeline.h"
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

// Timelines of steps on the way are made so seldom that they take a hundredth of the time of one thread, whatever their size.
constexpr int kTimelineShare = 99;

bool runtime_does(Operator op) {
  return program::is_communication(op) || op == Operator::load_tokens || op == Operator::load_targets || op == Operator::wait;
}

void refuse_what_nothing_executes(const Program& program, const Model& model, const Plan& plan, const World& world) {
  if (!model.simulate_only.empty())
    throw Error("model", fmt::format("'{}' can be simulated but not run: {}", model.name, model.simulate_only),
                "e.g. cpu-llama-small; 'orrery show models' marks those that are simulated only");
  if (plan.precision.compute == DType::fp16)
    throw Error("precision.compute", "gradients in fp16 vanish without a loss scale, which this version does not have", "use bf16");
  for (const program::Role& role : program.roles) {
    for (const Instruction& in : role.instructions) {
      const program::StreamDecl& stream = program.streams[in.stream];
      if (stream.kind != program::StreamKind::compute && stream.kind != program::StreamKind::comm)
        throw Error("plan", fmt::format("stream '{}' is neither for compute nor for communication; this executor has no such stream", stream.name));
      const program::Shape& shape = program.shapes[in.shape];
      if (runtime_does(in.op)) continue;
      if (!world.has(shape))
        throw Error("plan", fmt::format("there is no kernel for {} in {} ({} needs it)", program::name(in.op), name(shape.dtype), role.name),
                    shape.dtype == DType::fp32 ? "" : "set precision.compute, params, grads and optimizer to fp32, and precision.recipe to null");
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

StepReport report_of(const Program& program, std::int64_t step, const StepTotals& s, std::int64_t from) {
  const double tokens = static_cast<double>(program.global_batch * program.sequence);
  StepReport r;
  r.step = step;
  for (const double loss : s.loss) r.loss += loss;
  r.loss /= tokens;
  r.gradient_norm = std::sqrt(s.norm);
  r.period = Seconds{static_cast<double>(s.end - from) * 1e-9};
  r.tokens_per_second = tokens / r.period.v;
  r.peak_live = s.peak;
  r.timed = s.timed;
  return r;
}

// --- Between processes ---------------------------------------------------------------------------------------------------------------------------

std::string packed(const StepTotals& s, bool cancel) {
  ByteWriter w;
  w.put(cancel);
  w.list(s.loss);
  w.put(s.norm), w.put(s.begin), w.put(s.end), w.put(s.peak), w.put(s.ranks), w.put(s.timed);
  return w.take();
}

StepTotals unpacked(const std::string& bytes, bool& cancel) {
  ByteReader r(bytes);
  StepTotals s;
  cancel = r.get<bool>() || cancel;
  s.loss = r.list<double>();
  s.norm = r.get<double>(), s.begin = r.get<std::int64_t>(), s.end = r.get<std::int64_t>(), s.peak = r.get<std::int64_t>();
  s.ranks = r.get<std::int64_t>(), s.timed = r.get<bool>();
  return s;
}

// What two processes that run the same have in common, and those that were started with different plans, data or numbers of steps have not.
std::string fingerprint(const Program& program, const Plan& plan, const TokenSource& source, const RunOptions& options, std::int64_t first) {
  std::string text = fmt::format("{} ranks, {} x {} tokens, {} micro-batches, seed {}, steps {} to {}, {}", program.ranks(), program.global_batch,
                                 program.sequence, program.microbatches, plan.seed, first, options.steps, source.description());
  if (!options.checkpoints.folder.empty()) text += fmt::format("; checkpoints every {} steps", options.checkpoints.every);
  for (const program::Role& role : program.roles)
    text += fmt::format("; {} with {} instructions and {} buffers", role.name, role.instructions.size(), role.buffers.size());
  return text;
}

// What is left of a rank's run when it is over.
struct RankOutcome {
  RankMemory memory;
  std::int64_t redone = 0, replayed = 0;
  std::map<RankRunner::Dispatch, std::vector<double>> routed;
  StepRecord record;  // of the step that is shown
};

// What a rank holds of a parameter.
struct Shard {
  std::int64_t rank = 0;
  std::uint64_t parameter = 0;  // of its role
  std::int64_t first = 0;       // of the rank's own part of it
  std::vector<float> values;
};

void pack(ByteWriter& w, const RankOutcome& o) {
  w.put(o.memory), w.put(o.redone), w.put(o.replayed);
  w.put(static_cast<std::uint64_t>(o.routed.size()));
  for (const auto& [dispatch, counts] : o.routed) w.put(dispatch), w.list(counts);
  w.put(o.record.step), w.put(o.record.begin_ns), w.put(o.record.end_ns), w.put(o.record.timed);
  w.list(o.record.spans), w.list(o.record.memory);
}

RankOutcome unpack_outcome(ByteReader& r) {
  RankOutcome o;
  o.memory = r.get<RankMemory>(), o.redone = r.get<std::int64_t>(), o.replayed = r.get<std::int64_t>();
  for (auto n = r.get<std::uint64_t>(); n > 0; --n) {
    const auto dispatch = r.get<RankRunner::Dispatch>();
    o.routed[dispatch] = r.list<double>();
  }
  o.record.step = r.get<std::int64_t>(), o.record.begin_ns = r.get<std::int64_t>(), o.record.end_ns = r.get<std::int64_t>();
  o.record.timed = r.get<bool>();
  o.record.spans = r.list<Span>(), o.record.memory = r.list<MemorySample>();
  return o;
}

// Clocks do not run equally fast: a record's times, of a run that ended at `end_ns`, on a clock that had then gone wrong by `drift_ns`.
void correct(StepRecord& record, std::int64_t drift_ns, std::int64_t end_ns) {
  if (drift_ns == 0 || end_ns <= 0) return;
  const double slope = static_cast<double>(drift_ns) / static_cast<double>(end_ns);
  const auto at = [&](std::int64_t t) { return t + std::llround(slope * static_cast<double>(t)); };
  record.begin_ns = at(record.begin_ns), record.end_ns = at(record.end_ns);
  for (Span& s : record.spans) s.start = Picoseconds{at(s.start.v)}, s.end = Picoseconds{at(s.end.v)};
  for (MemorySample& m : record.memory) m.time = Picoseconds{at(m.time.v)};
}

Seconds median(std::vector<Seconds> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) * 0.5;
}

std::vector<Shard> shards_of(RankRunner& rank, std::int64_t number) {
  std::vector<Shard> out;
  const std::vector<float> values = rank.parameters();
  rank.for_each_parameter([&](const program::Parameter& p, std::int64_t first, std::int64_t count, std::int64_t held) {
    out.push_back(
        {number, static_cast<std::uint64_t>(&p - rank.role().parameters.data()), first, {values.begin() + held, values.begin() + held + count}});
  });
  return out;
}

// Adds a rank's shard to the global tensors.
void collect(const Program& program, const Shard& shard, RunResult& result) {
  const program::Parameter& p = program.role_of(shard.rank).parameters[static_cast<std::size_t>(shard.parameter)];
  std::vector<float>& global = result.parameters[p.name];
  if (global.empty()) global.assign(static_cast<std::size_t>(p.global_rows * p.global_cols), std::numeric_limits<float>::quiet_NaN());
  const auto [row0, col0] = program::origin(p, program.coordinates(shard.rank), program.experts_of(p.layer));
  for (std::size_t i = 0; i < shard.values.size(); ++i) {
    const std::int64_t at = shard.first + static_cast<std::int64_t>(i), row = row0 + at / p.cols, col = col0 + at % p.cols;
    if (row >= p.global_rows || col >= p.global_cols) continue;
    const float mine = shard.values[i];
    float& theirs = global[static_cast<std::size_t>(row * p.global_cols + col)];
    if (!std::isnan(theirs))
      result.replica_difference = std::max(result.replica_difference, std::abs(static_cast<double>(mine) - static_cast<double>(theirs)));
    theirs = mine;
  }
}

// What the members of each group that shares experts sent to each expert together.
std::vector<program::LayerLine> dispatches(const Program& program, const std::vector<RankOutcome>& outcomes) {
  const program::Group sharing{.axes = static_cast<program::AxisMask>(program::mask(program::Axis::etp) | program::mask(program::Axis::ep))};
  std::map<std::tuple<std::uint16_t, std::int64_t, std::uint16_t, std::int64_t>, std::vector<double>> sums;
  for (std::size_t r = 0; r < outcomes.size(); ++r) {
    const std::int64_t first = program::first_member(program.mesh, sharing, static_cast<std::int64_t>(r));
    for (const auto& [dispatch, counts] : outcomes[r].routed) {
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

// What the run begins with; null: random numbers.
std::unique_ptr<CheckpointReader> open_beginning(const Program& program, const Model& model, const Plan& plan, const TokenSource& source,
                                                 const RunOptions& options) {
  const CheckpointOptions& o = options.checkpoints;
  if (!o.resume.empty() && !o.init.empty()) throw Error("--init", "a run that is resumed has its weights already", "give --resume or --init");
  if (!o.init.empty()) return CheckpointReader::to_begin(o.init, model);
  if (o.resume.empty()) return nullptr;
  refuse_checkpoints(program);
  auto from = CheckpointReader::to_resume(o.resume, program, model, plan, source.description());
  if (from->info().steps >= options.steps)
    throw Error("--steps",
                fmt::format("{} has {} steps already, and the run is to have {} in all", from->path().string(), from->info().steps, options.steps),
                fmt::format("e.g. --steps {}", 2 * from->info().steps));
  return from;
}

}  // namespace

RunResult run(const Program& program, const Model& model, const Plan& plan, const TokenSource& source, const RunOptions& options) {
  const std::int64_t ranks = program.ranks();
  if (options.steps < 1) throw Error("--steps", fmt::format("{} steps cannot be run", options.steps), "ask for at least one");
  if (!options.world && ranks > options.most_ranks)
    throw Error("plan", fmt::format("has {} ranks; this executor runs at most {} as threads of one machine", ranks, options.most_ranks),
                "take a smaller cluster, or simulate it");
  const std::unique_ptr<KernelSet> fp32 = options.world ? nullptr : make_cpu_kernels();
  const std::unique_ptr<KernelSet> kernels = options.world ? nullptr : make_rounding_kernels(*fp32);
  const std::unique_ptr<World> own = options.world ? nullptr : make_host_world(ranks, *kernels);
  World& world = options.world ? *options.world : *own;
  assert(world.ranks() == ranks);
  refuse_what_nothing_executes(program, model, plan, world);
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
    for (const program::PassInstance& p : role.body) spans += role.passes[p.pass].count * static_cast<std::size_t>(alike);
  }
  const std::vector<std::int64_t> here = world.here();
  for (const std::int64_t r : here) bytes += predicted[program.stage_of(r)].arena;
  if (const std::int64_t room = world.memory(); room > 0 && bytes > room)
    throw OutOfMemory("plan", fmt::format("its {} ranks need {:.1f} GiB together, this machine has {:.1f} GiB", here.size(), gib(bytes), gib(room)),
                      "take a smaller model or micro-batch, recompute, or simulate it", bytes / static_cast<std::int64_t>(here.size()),
                      room / static_cast<std::int64_t>(here.size()));

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
  const bool alone = world.processes() == 1;
  const std::unique_ptr<CheckpointReader> beginning = open_beginning(program, model, plan, source, options);
  const std::int64_t first_step = beginning ? beginning->info().steps : 0;
  // Before the processes first hear of each other: the first one clears away what an earlier run left half written.
  std::unique_ptr<CheckpointWriter> writer;
  if (!options.checkpoints.folder.empty()) {
    CheckpointWriter::Settings w;
    w.folder = options.checkpoints.folder, w.in_background = options.checkpoints.in_background;
    w.ranks_here = static_cast<std::int64_t>(here.size()), w.process = world.process(), w.processes = world.processes();
    w.first_step = first_step;
    writer = std::make_unique<CheckpointWriter>(program, model, plan, source.description(), std::move(w));
  }
  const auto now = [] { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  std::int64_t origin = now();
  const std::int64_t offset = world.clock_offset_ns();
  bool cancel = false;
  if (!alone) {
    // Times are since process 0's beginning, on its clock.
    ByteWriter w;
    const std::string runs = fingerprint(program, plan, source, options, first_step);
    w.put(options.cancel && options.cancel->load());
    w.put(origin);
    w.text(runs);
    const std::vector<std::string> all = world.gather(w.take());
    for (std::size_t p = 0; p < all.size(); ++p) {
      ByteReader r(all[p]);
      cancel = r.get<bool>() || cancel;
      const auto theirs = r.get<std::int64_t>();
      if (p == 0) origin = theirs - offset;
      if (const std::string what = r.text(); what != runs)
        throw Error("processes", fmt::format("process {} runs another plan than process {}: {}, not {}", p, world.process(), what, runs),
                    "start all with the same plan, data and settings");
    }
  }
  std::vector<RankRunner::Setting> settings;
  settings.reserve(predicted.size());
  for (const program::MemoryReport& m : predicted) settings.push_back({program, model, plan, source, options, origin, m.arena, kept, classes});

  RunResult result;
  result.first_step = first_step;
  Progress progress(program, options, first_step, static_cast<std::int64_t>(here.size()), !alone);
  // Whether a step follows is agreed two steps ahead, so that nobody waits for the answer.
  for (int ahead = 0; ahead < 2 && !alone; ++ahead) progress.decide(cancel);
  std::vector<std::unique_ptr<RankRunner>> runners(here.size());
  std::vector<std::thread> threads;
  // Before the others are told, so that what they then throw is not taken for the cause; what another process has told is not this rank's failure.
  const auto failed = [&](std::int64_t r) {
    const std::exception_ptr what = std::current_exception();
    std::string text;
    try {
      std::rethrow_exception(Progress::named(r, what));
    } catch (const Error& e) {
      text = e.what();
      const std::string told = world.failure();
      if (told.empty() || e.message().find(told) == std::string::npos) progress.fail(r, what);
    }
    if (writer) writer->abort();
    return text;
  };
  for (std::size_t i = 0; i < here.size(); ++i)
    threads.emplace_back([&, i, r = here[i]] {
      try {
        std::unique_ptr<Device> device = world.device(r);
        const std::unique_ptr<Communicator> communicator = world.communicator(r, *device);
        try {
          const std::size_t stage = program.stage_of(r);
          auto& runner = runners[i];
          runner = std::make_unique<RankRunner>(settings[stage], r, std::move(device), *communicator);
          if (beginning)
            beginning->load(program, model, r,
                            [&](std::int32_t buffer, std::int64_t to, const void* from, std::int64_t n) { runner->store(buffer, to, from, n); });
          const auto save = [&](std::int64_t steps) {
            writer->save(steps, r, [&](void* to, std::int32_t buffer, std::int64_t from, std::int64_t n) { runner->fetch(to, buffer, from, n); });
          };
          const std::int64_t every = options.checkpoints.every;
          std::int64_t step = first_step, saved = step;
          for (; progress.goes_on(step); ++step) {
            const bool last = ends_otherwise(program) && !progress.goes_on(step + 1);
            runner->step(step, last);
            progress.finished(step, i, *runner);
            if (writer && every > 0 && (step + 1) % every == 0) save(saved = step + 1);
          }
          runner->finish();
          if (writer && saved < step) save(step);
        } catch (...) {
          communicator->abort(failed(r));
        }
      } catch (...) {
        world.abort(failed(r));
      }
      progress.left();
    });

  std::exception_ptr thrown;
  std::int64_t before = 0;  // end of the step before
  try {
    for (std::int64_t step = first_step;; ++step) {
      std::optional<StepTotals> totals = progress.wait_for(step);
      if (!totals) break;
      if (!alone) {
        cancel = options.cancel && options.cancel->load();
        StepTotals sum;
        for (const std::string& part : world.gather(packed(*totals, cancel))) sum.add(unpacked(part, cancel), program);
        totals = std::move(sum);
        progress.decide(cancel);
      }
      result.steps.push_back(report_of(program, step, *totals, step == first_step ? totals->begin : before));
      before = totals->end;
      if (options.progress) options.progress(result.steps.back());
      if (!options.timeline || !alone || result.steps.size() < 2) continue;
      if (const std::vector<StepRecord> records = progress.take_records(step - 1); !records.empty()) {
        const auto began = Progress::Clock::now();
        std::vector<const StepRecord*> by_rank;
        by_rank.reserve(records.size());
        for (const StepRecord& r : records) by_rank.push_back(&r);
        options.timeline(std::make_shared<const StepTimeline>(
            lay_out(program, false, options.peak, classes, by_rank, result.steps[result.steps.size() - 2].period)));
        const auto ended = Progress::Clock::now();
        progress.no_records_until(ended + kTimelineShare * (ended - began));
      }
    }
  } catch (...) {
    thrown = std::current_exception();
    if (writer) writer->abort();
    world.abort("the caller gave up");
  }
  progress.stop();
  for (std::thread& t : threads) t.join();
  if (progress.failed() && !alone) progress.rethrow();  // of which the caller's thread has heard from the others
  if (thrown) std::rethrow_exception(thrown);
  progress.rethrow();
  if (const std::string why = world.failure(); !why.empty()) throw Error("", why);
  if (writer) {
    writer->finish();
    if (!alone) world.gather("");  // all have
    if (!result.steps.empty()) result.checkpoint = first_step + static_cast<std::int64_t>(result.steps.size());
  }

  // Which step is shown, every process finds for itself.
  result.cancelled = progress.cancelled();
  result.timeline.origin = "measured";
  const PrecisionSpec& precision = plan.precision;
  result.emulated = world.emulates() && (precision.compute != DType::fp32 || precision.params != DType::fp32 || precision.grads != DType::fp32);
  const std::size_t done = result.steps.size();
  std::size_t shown = done;
  const bool drains = ends_otherwise(program);
  if (done > 0) {
    const std::size_t skipped = std::min(static_cast<std::size_t>(std::max<std::int64_t>(options.warm_up, 0)), done - 1);
    std::vector<Seconds> periods, untimed;
    for (std::size_t i = skipped; i < done; ++i) (result.steps[i].timed ? periods : untimed).push_back(result.steps[i].period);
    result.step_time = median(std::move(untimed.empty() ? periods : untimed));
    const std::size_t whole = drains && done > 1 ? done - 1 : done;
    const auto& kept_records = runners.front()->records();
    for (std::size_t i = std::min(skipped, whole - 1); i < done; ++i) {
      const auto distance = [&](std::size_t k) { return std::abs(result.steps[k].period.v - result.step_time.v); };
      if (kept_records[i].timed && (shown == done || (i < whole && distance(i) < distance(shown)))) shown = i;
    }
  }

  std::vector<RankOutcome> outcomes;
  for (const auto& runner : runners) {
    outcomes.push_back({runner->memory(), runner->redone(), runner->replayed(), runner->routed(), {}});
    if (shown < done) outcomes.back().record = runner->records()[shown];
  }
  if (!alone) {
    const std::int64_t drift = world.clock_offset_ns() - offset, end = now() - origin;
    ByteWriter w;
    for (RankOutcome& o : outcomes) correct(o.record, drift, end), pack(w, o);
    outcomes.clear();
    for (const std::string& part : world.gather_at_first(w.take()))
      for (ByteReader r(part); !r.empty();) outcomes.push_back(unpack_outcome(r));
  }
  if (options.keep_parameters) {
    std::vector<Shard> shards;
    for (std::size_t i = 0; i < here.size(); ++i) {
      for (Shard& s : shards_of(*runners[i], here[i])) shards.push_back(std::move(s));
      if (!alone) continue;
      for (const Shard& s : shards) collect(program, s, result);
      shards.clear();
    }
    if (!alone) {
      ByteWriter w;
      for (const Shard& s : shards) w.put(s.rank), w.put(s.parameter), w.put(s.first), w.list(s.values);
      for (const std::string& part : world.gather_at_first(w.take()))
        for (ByteReader r(part); !r.empty();) {
          Shard s;
          s.rank = r.get<std::int64_t>(), s.parameter = r.get<std::uint64_t>(), s.first = r.get<std::int64_t>(), s.values = r.list<float>();
          collect(program, s, result);
        }
    }
  }
  if (outcomes.empty()) return result;  // not process 0

  for (const RankOutcome& o : outcomes) result.memory.push_back(o.memory);
  result.redone = outcomes.front().redone;
  result.replayed = outcomes.front().replayed;
  if (model.moe) result.expert_load = dispatches(program, outcomes);
  if (shown == done) return result;  // cancelled before any step was timed
  result.timeline_step = first_step + static_cast<std::int64_t>(shown);
  std::vector<const StepRecord*> records;
  records.reserve(outcomes.size());
  for (const RankOutcome& o : outcomes) records.push_back(&o.record);
  StepTimeline made = lay_out(program, drains && shown + 1 == done, options.peak, classes, records, result.steps[shown].period);
  result.timeline = std::move(made.timeline);
  result.waterfall = made.waterfall;
  return result;
}

}  // namespace orrery::executor
