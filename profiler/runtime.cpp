#include "profiler/runtime.h"

#include <algorithm>

#include "executor/data/tokens.h"
#include "executor/run.h"
#include "profiler/measure.h"

namespace orrery::profiler {
namespace {

using program::Operator;

constexpr std::int64_t kVocabulary = 256, kTexts = 64;     // windows of the text that tokens are taken from
constexpr std::int64_t kCleared = std::int64_t{1} << 20U;  // numbers: 4 MiB
constexpr int kInstructions = 40, kSteps = 12;

// One rank and one pass: memory is cleared and, if there is a load, tokens are loaded, in turn.
program::Program small_program(const program::Shape* load, std::int64_t tokens) {
  program::Program p;
  p.launch = program::Launch::inline_host;
  p.streams = {{"compute", program::StreamKind::compute}};
  p.micro_batch = p.global_batch = p.microbatches = 1;
  p.sequence = tokens;
  program::Role role;
  role.name = "rank";
  const auto add = [&](const program::Shape& shape, program::Lifetime lifetime, DType dtype) {
    program::Buffer b;
    b.name = program::name(shape.op);
    b.lifetime = lifetime;
    b.dtype = dtype;
    b.elements = shape.dims[0];
    b.bytes = bytes_of(dtype, b.elements);
    role.buffers.push_back(b);
    p.shapes.push_back(shape);
  };
  const auto issue = [&](std::uint32_t what, bool marks) {
    program::Instruction in;
    in.op = p.shapes[what].op;
    in.shape = what;
    in.accesses = static_cast<std::uint32_t>(role.accesses.size());
    in.access_count = 1;
    role.accesses.push_back({what, program::AccessMode::write, marks, marks});
    role.instructions.push_back(in);
  };
  program::Shape clear;
  clear.op = Operator::zero;
  clear.dims = {kCleared};
  add(clear, program::Lifetime::pass, DType::fp32);
  if (load) add(*load, program::Lifetime::persistent, DType::int32);
  for (int i = 0; i < kInstructions; ++i) {
    issue(0, true);
    if (load) issue(1, false);
  }
  role.passes = {{"all", program::PassKind::forward, 0, 0, static_cast<std::uint32_t>(role.instructions.size())}};
  role.body = {{0, 0}};
  p.roles = {role};
  return p;
}

}  // namespace

RuntimeMeasurement measure_runtime(std::span<const program::Shape> loads) {
  RuntimeMeasurement out;
  std::vector<double> gaps;
  const auto run = [&](const program::Shape* load) {
    const std::int64_t tokens = load ? std::max<std::int64_t>(1, load->dims[0]) : 1;
    Model model;
    model.vocab = kVocabulary;
    std::vector<std::uint16_t> text(static_cast<std::size_t>(kTexts * tokens + 1));
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint16_t>(i * 7 % kVocabulary);
    const executor::TextTokens source("text", kVocabulary, std::move(text), tokens, 1);
    executor::RunOptions options;
    options.steps = kSteps;
    const executor::RunResult result = executor::run(small_program(load, tokens), model, Plan{}, source, options);
    const std::vector<Span>& spans = result.timeline.spans;
    std::vector<double> took;
    for (std::size_t i = 0; i < spans.size(); ++i) {
      if (load && result.timeline.kinds[spans[i].kind].name == program::name(load->op)) took.push_back(to_seconds(spans[i].end - spans[i].start).v);
      if (i > 0) gaps.push_back(to_seconds(spans[i].start - spans[i - 1].end).v);
    }
    return took;
  };
  if (loads.empty()) run(nullptr);
  for (const program::Shape& load : loads) {
    const MedianEstimate e = estimate_median(run(&load));
    OperatorMeasurement m;
    m.op = program::name(load.op);
    m.dims = {load.dims[0]};
    m.dtype = load.dtype;
    m.median = Seconds{e.median};
    m.spread = e.spread;
    m.count = e.count;
    out.loads.push_back(std::move(m));
  }
  out.issue = Seconds{estimate_median(gaps).median};
  return out;
}

}  // namespace orrery::profiler
