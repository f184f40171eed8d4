#include "core/timeline_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>
#include <limits>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "core/files.h"
#include "core/json_edge.h"
#include "core/schema.h"
#include "core/schema_fields.h"

namespace orrery {
namespace {

using schema::about;
using schema::In;
using schema::Words;

constexpr const char* kVersion = "timeline/1";
constexpr double kMostPicoseconds = 9.2e18;
constexpr double kMostIndex = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t kNone = 0xffff;  // Span::layer and Span::microbatch without a value

const Words kWaits{"none", "host", "compute", "tp", "cp", "ep", "pp", "dp"};
const Words kPhases{"M", "X", "s", "f", "C"};
const Words kOrigins{"simulated", "measured"};

// The events of a trace as they stand in it.
struct Header {
  std::string version, origin;
  Picoseconds step;
  std::vector<std::string> streams, ranks;
  std::vector<std::int64_t> weights;
  std::int64_t all_ranks = 0;
  std::vector<SpanKind> kinds;
};
struct HeaderEvent {
  std::string name;
  std::int64_t pid = 0;
  Header args;
};
struct NameArgs {
  std::string name;
  std::int64_t sort_index = 0;
};
struct NameEvent {
  std::string name;
  std::int64_t pid = 0, tid = 0;
  NameArgs args;
};
struct SpanArgs {
  std::array<std::int64_t, 2> ps{};
  std::int64_t kind = 0, pass = 0, instruction = 0, layer = kNone, microbatch = kNone, waited = 0, transfer = 0;
  std::string wait = "none";
  bool recompute = false, critical = false;
  double flops = 0, energy = 0;
  std::int64_t bytes = 0;
  std::string source;
};
struct SpanEvent {
  std::string name, work;
  std::int64_t pid = 0, tid = 0;
  double ts = 0, dur = 0;
  SpanArgs args;
};
struct FlowArgs {
  std::int64_t from = 0, to = 0;
};
struct FlowEvent {
  std::string name, category, binding = "e";
  std::int64_t pid = 0, tid = 0, id = 0;
  double ts = 0;
  FlowArgs args;
};
struct MemoryArgs {
  std::int64_t bytes = 0;
};
struct MemoryEvent {
  std::string name;
  std::int64_t pid = 0;
  double ts = 0;
  std::int64_t ps = 0;
  MemoryArgs args;
};

const Words& work_names() {
  static const Words kWords = [] {
    Words out;
    for (std::size_t c = 0; c < kWorkClasses; ++c) out.emplace_back(name(static_cast<WorkClass>(c)));
    return out;
  }();
  return kWords;
}

}  // namespace

namespace schema {
template <>
struct Names<WorkClass> {
  static const Words& words() { return work_names(); }
};
}  // namespace schema

template <class F>
void fields(F& f, In<F, SpanKind>& k) {
  f("name", k.name, about("operator or collective").must());
  f("work", k.work, about("what its time is for").must());
  f("ideal_ps", k.ideal.v, about("its FLOPs at the device's peak").within(0, kMostPicoseconds));
  f("flops", k.flops, about("by one rank, causal attention counted as half").within(0, 1e300));
  f("bytes", k.bytes, about("payload, or memory traffic").within(0, kMostPicoseconds));
  f("source", k.source, about("of its price; empty for a measured run"));
  f("energy_j", k.energy.v, about("joules above idle of one execution by one rank; 0: unknown").within(0, 1e300));
}

namespace {

template <class F>
void fields(F& f, In<F, Header>& h) {
  f("orrery", h.version, about("format of this trace").must());
  f("origin", h.origin, about("where the times come from").must().one_of(kOrigins));
  f("step_ps", h.step.v, about("the period in picoseconds").must().within(0, kMostPicoseconds));
  f("streams", h.streams, about("names, by thread").must());
  f("ranks", h.ranks, about("names, by process; empty: not recorded").must());
  f("weights", h.weights, about("how many ranks each stands for, by process; 0: not recorded; empty: one each").within(0, kMostIndex));
  f("all_ranks", h.all_ranks, about("ranks of the plan; 0: those recorded").within(0, kMostIndex));
  f("kinds", h.kinds, about("what spans have in common").must());
}
template <class F>
void fields(F& f, In<F, HeaderEvent>& e) {
  f.constant("ph", "M", "metadata");
  f.constant("name", "orrery", "");
  f("pid", e.pid, about("").within(0, kMostIndex));
  f("args", e.args, about("").must());
}
template <class F>
void fields(F& f, In<F, NameArgs>& a) {
  f("name", a.name, about("of the rank or stream"));
  f("sort_index", a.sort_index, about("place on the screen").within(0, kMostIndex));
}
template <class F>
void fields(F& f, In<F, NameEvent>& e) {
  static const Words kNames{"process_name", "thread_name", "process_sort_index", "thread_sort_index"};
  f.constant("ph", "M", "metadata");
  f("name", e.name, about("what is named").must().one_of(kNames));
  f("pid", e.pid, about("rank").must().within(0, kMostIndex));
  f("tid", e.tid, about("stream").within(0, kMostIndex));
  f("args", e.args, about("").must());
}
template <class F>
void fields(F& f, In<F, SpanArgs>& a) {
  f("ps", a.ps, about("start and end in picoseconds").must().within(-kMostPicoseconds, kMostPicoseconds));
  f("kind", a.kind, about("index into kinds").must().within(0, kMostIndex));
  f("pass", a.pass, about("index of the pass in the role's body").within(0, kMostIndex));
  f("instruction", a.instruction, about("index in the pass's template").within(0, 0xffff));
  f("layer", a.layer, about("65535: none").within(0, 0xffff));
  f("microbatch", a.microbatch, about("65535: none").within(0, 0xffff));
  f("waited_ps", a.waited, about("from when its stream was free to its start").within(-kMostPicoseconds, kMostPicoseconds));
  f("transfer_ps", a.transfer, about("the part of it during which data moved").within(-kMostPicoseconds, kMostPicoseconds));
  f("wait", a.wait, about("what it waited for").one_of(kWaits));
  f("recompute", a.recompute, about("run again"));
  f("critical", a.critical, about("on the critical path"));
  f("flops", a.flops, about("of its kind"));
  f("bytes", a.bytes, about("of its kind").within(0, kMostPicoseconds));
  f("source", a.source, about("of its kind"));
  f("energy_j", a.energy, about("of its kind"));
}
template <class F>
void fields(F& f, In<F, SpanEvent>& e) {
  f.constant("ph", "X", "a complete event");
  f("name", e.name, about("of its kind").must());
  f("cat", e.work, about("class of work").must().one_of(work_names()));
  f("pid", e.pid, about("rank").must().within(0, kMostIndex));
  f("tid", e.tid, about("stream").must().within(0, 0xffff));
  f("ts", e.ts, about("start in microseconds").must());
  f("dur", e.dur, about("duration in microseconds").must());
  f("args", e.args, about("").must());
}
template <class F>
void fields(F& f, In<F, FlowArgs>& a) {
  f("from", a.from, about("index of the span that sent").must().within(0, kMostIndex));
  f("to", a.to, about("index of the span that received").must().within(0, kMostIndex));
}
template <class F>
void flow_fields(F& f, In<F, FlowEvent>& e) {
  f.constant("name", "flow", "");
  f.constant("cat", "flow", "");
  f("id", e.id, about("the same at both ends").must().within(0, kMostIndex));
  f("pid", e.pid, about("rank").must().within(0, kMostIndex));
  f("tid", e.tid, about("stream").must().within(0, 0xffff));
  f("ts", e.ts, about("in microseconds").must());
}
struct FlowStart : FlowEvent {};
struct FlowFinish : FlowEvent {};
template <class F>
void fields(F& f, In<F, FlowStart>& e) {
  f.constant("ph", "s", "an arrow's start");
  flow_fields(f, e);
  f("args", e.args, about("").must());
}
template <class F>
void fields(F& f, In<F, FlowFinish>& e) {
  f.constant("ph", "f", "an arrow's end");
  f.constant("bp", "e", "it points at the enclosing span");
  flow_fields(f, e);
}
template <class F>
void fields(F& f, In<F, MemoryArgs>& a) {
  f("bytes", a.bytes, about("live from then on").must().within(0, kMostPicoseconds));
}
template <class F>
void fields(F& f, In<F, MemoryEvent>& e) {
  f.constant("ph", "C", "a counter");
  f.constant("name", "memory", "");
  f("pid", e.pid, about("rank").must().within(0, kMostIndex));
  f("ts", e.ts, about("in microseconds").must());
  f("ps", e.ps, about("the same in picoseconds").must().within(-kMostPicoseconds, kMostPicoseconds));
  f("args", e.args, about("").must());
}

// Picoseconds as microseconds, to the last digit.
struct Microseconds {
  std::int64_t ps;
};

class TraceWriter {
 public:
  explicit TraceWriter(const Timeline& timeline) : t_(timeline) {}

  std::string write() {
    put("{{\"traceEvents\":[\n");
    header();
    names();
    spans();
    for (std::size_t i = 0; i < t_.flows.size(); ++i) flow(i);
    for (const MemorySample& m : t_.memory) {
      event();
      put("{{\"ph\":\"C\",\"name\":\"memory\",\"pid\":{},\"ts\":", m.rank);
      microseconds(m.time.v);
      put(",\"ps\":{},\"args\":{{\"bytes\":{}}}}}", m.time.v, m.bytes);
    }
    put("\n],\"displayTimeUnit\":\"ns\"}}\n");
    return fmt::to_string(out_);
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }
  void event() {
    if (!first_) put(",\n");
    first_ = false;
  }
  void microseconds(std::int64_t ps) {
    const std::uint64_t size = ps < 0 ? 0 - static_cast<std::uint64_t>(ps) : static_cast<std::uint64_t>(ps);
    put("{}{}", ps < 0 ? "-" : "", size / 1'000'000);
    if (size % 1'000'000 != 0) put(".{:06}", size % 1'000'000);
  }
  void header() {
    event();
    put("{{\"ph\":\"M\",\"name\":\"orrery\",\"pid\":0,\"args\":{{\"orrery\":\"{}\",\"origin\":{},\"step_ps\":{},\n\"streams\":", kVersion,
        schema::quote(t_.origin), t_.step.v);
    texts(t_.streams);
    put(",\n\"ranks\":");
    texts(t_.ranks);
    if (!t_.weights.empty()) put(",\n\"weights\":[{}]", fmt::join(t_.weights, ","));
    if (t_.all_ranks != 0) put(",\"all_ranks\":{}", t_.all_ranks);
    put(",\n\"kinds\":[");
    for (std::size_t i = 0; i < t_.kinds.size(); ++i) {
      const SpanKind& k = t_.kinds[i];
      put("{}\n{{\"name\":{},\"work\":\"{}\",\"ideal_ps\":{},\"flops\":{},\"bytes\":{},\"source\":{}", i == 0 ? "" : ",", schema::quote(k.name),
          name(k.work), k.ideal.v, k.flops, k.bytes, schema::quote(k.source));
      if (k.energy.v != 0) put(",\"energy_j\":{}", k.energy.v);
      put("}}");
    }
    put("]}}}}");
  }
  void texts(const std::vector<std::string>& list) {
    put("[");
    for (std::size_t i = 0; i < list.size(); ++i) put("{}{}", i == 0 ? "" : ",", schema::quote(list[i]));
    put("]");
  }
  void names() {
    // Only streams that a rank uses get a thread.
    std::vector<std::vector<bool>> used(t_.ranks.size(), std::vector<bool>(t_.streams.size()));
    for (const Span& s : t_.spans) used[s.rank][s.stream] = true;
    for (std::size_t r = 0; r < t_.ranks.size(); ++r) {
      if (t_.ranks[r].empty()) continue;
      event();
      put("{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{},\"args\":{{\"name\":{}}}}}", r, schema::quote(t_.ranks[r]));
      event();
      put("{{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":{},\"args\":{{\"sort_index\":{}}}}}", r, r);
      for (std::size_t s = 0; s < t_.streams.size(); ++s) {
        if (!used[r][s]) continue;
        event();
        put("{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":{}}}}}", r, s, schema::quote(t_.streams[s]));
        event();
        put("{{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":{},\"tid\":{},\"args\":{{\"sort_index\":{}}}}}", r, s, s);
      }
    }
  }
  void spans() {
    // What all spans of a kind repeat is written once.
    std::vector<std::string> heads, tails;
    for (const SpanKind& k : t_.kinds) {
      heads.push_back(fmt::format("{{\"ph\":\"X\",\"name\":{},\"cat\":\"{}\",", schema::quote(k.name), name(k.work)));
      std::string tail;
      if (k.flops != 0) tail += fmt::format(",\"flops\":{}", k.flops);
      if (k.bytes != 0) tail += fmt::format(",\"bytes\":{}", k.bytes);
      if (!k.source.empty()) tail += ",\"source\":" + schema::quote(k.source);
      if (k.energy.v != 0) tail += fmt::format(",\"energy_j\":{}", k.energy.v);
      tails.push_back(tail + "}}");
    }
    std::vector<bool> critical(t_.spans.size());
    for (const std::uint32_t i : t_.critical) critical[i] = true;
    for (std::size_t i = 0; i < t_.spans.size(); ++i) {
      const Span& s = t_.spans[i];
      event();
      put("{}\"pid\":{},\"tid\":{},\"ts\":", heads[s.kind], s.rank, s.stream);
      microseconds(s.start.v);
      put(",\"dur\":");
      microseconds(s.end.v - s.start.v);
      put(",\"args\":{{\"ps\":[{},{}],\"kind\":{},\"pass\":{},\"instruction\":{}", s.start.v, s.end.v, s.kind, s.pass, s.instruction);
      if (s.layer != kNone) put(",\"layer\":{}", s.layer);
      if (s.microbatch != kNone) put(",\"microbatch\":{}", s.microbatch);
      if (s.waited.v != 0) put(",\"waited_ps\":{}", s.waited.v);
      if (s.transfer.v != 0) put(",\"transfer_ps\":{}", s.transfer.v);
      if (s.cause != WaitCause::none) put(",\"wait\":\"{}\"", kWaits[static_cast<std::size_t>(s.cause)]);
      if (s.recompute) put(",\"recompute\":true");
      if (critical[i]) put(",\"critical\":true");
      out_.append(tails[s.kind]);
    }
  }
  void flow(std::size_t i) {
    // Both ends bind to the span that encloses their time, so they stand at its start.
    const Flow& link = t_.flows[i];
    const Span &from = t_.spans[link.from], &to = t_.spans[link.to];
    event();
    put("{{\"ph\":\"s\",\"name\":\"flow\",\"cat\":\"flow\",\"id\":{},\"pid\":{},\"tid\":{},\"ts\":", i, from.rank, from.stream);
    microseconds(from.start.v);
    put(",\"args\":{{\"from\":{},\"to\":{}}}}}", link.from, link.to);
    event();
    put("{{\"ph\":\"f\",\"bp\":\"e\",\"name\":\"flow\",\"cat\":\"flow\",\"id\":{},\"pid\":{},\"tid\":{},\"ts\":", i, to.rank, to.stream);
    microseconds(to.start.v);
    put("}}");
  }

  const Timeline& t_;
  fmt::memory_buffer out_;
  bool first_ = true;
};

// Finds the events of a trace one by one, so that a long one never stands in memory as a tree.
class TraceReader {
 public:
  TraceReader(std::string_view text, std::string_view file) : text_(text), file_(file) {
    if (text_.substr(0, 3) == "\xef\xbb\xbf") text_.remove_prefix(3);
  }

  Timeline read() {
    space();
    if (at_ == text_.size()) throw Error(file_ + ":1", "is empty");
    if (peek() == '[') foreign();
    expect('{');
    space();
    constexpr std::string_view kFirst = "\"traceEvents\"";
    if (text_.substr(at_, kFirst.size()) != kFirst) foreign();
    at_ += kFirst.size();
    space();
    expect(':');
    space();
    expect('[');
    space();
    if (peek() == ']') foreign();
    for (bool more = true; more;) {
      const std::size_t begin = at_;
      const std::uint32_t line = line_;
      skip_value();
      const json::Document document(text_.substr(begin, at_ - begin), file_, json::Origin{line, fmt::format("traceEvents[{}]", events_)});
      event(document);
      ++events_;
      space();
      more = peek() == ',';
      if (more) {
        expect(',');
        space();
      }
    }
    expect(']');
    // What follows is at most the display unit: as an object of its own.
    space();
    if (peek() == ',') {
      ++at_;
      std::string rest(1, '{');
      rest += text_.substr(at_);
      const json::Document document(rest, file_, json::Origin{line_, ""});
      json::Object object = document.object();
      std::string unit;
      object.read("displayTimeUnit", unit);
      object.done();
    } else {
      expect('}');
      space();
      if (at_ != text_.size()) fail("has text after the end of the document");
    }
    check_flows();
    sort_spans();
    std::stable_sort(timeline_.critical.begin(), timeline_.critical.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return timeline_.spans[a].start < timeline_.spans[b].start; });
    return std::move(timeline_);
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const { throw Error(fmt::format("{}:{}", file_, line_), what, hint); }
  [[noreturn]] void foreign() const {
    fail("is not a trace that Orrery wrote", "its first event is {\"ph\":\"M\",\"name\":\"orrery\",…}; traces of other programs cannot be read yet");
  }
  char peek() const {
    if (at_ == text_.size()) fail("ends in the middle of the document", "is the file truncated?");
    return text_[at_];
  }
  void expect(char c) {
    if (peek() != c) fail(fmt::format("is not JSON: '{}' expected", c));
    ++at_;
  }
  void space() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return;
      }
    }
  }
  // One event: an object, to its closing brace. Whether what is between is JSON is for the document reader to say.
  void skip_value() {
    if (peek() != '{') fail("is not JSON: an event in braces expected");
    std::size_t depth = 0;
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (quoted) {
        if (c == '\\') {
          ++at_;
        } else if (c == '"') {
          quoted = false;
        }
      } else if (c == '"') {
        quoted = true;
      } else if (c == '{') {
        ++depth;
      } else if (c == '}' && --depth == 0) {
        ++at_;
        return;
      }
    }
    at_ = text_.size();
    peek();
  }

  template <class T>
  static T as(json::Object& object) {
    T out;
    schema::Reader reader(object);
    fields(reader, out);
    object.done();
    return out;
  }
  // Indices are checked where they are read.
  static void check_index(json::Object& object, const char* key, std::int64_t index, std::size_t size, const char* what) {
    if (index >= static_cast<std::int64_t>(size)) {
      object.required(key).fail(fmt::format("{} is not one of the {} {}", index, size, what), "they are counted from 0");
    }
  }

  void event(const json::Document& document) {
    json::Object object = document.object();
    const json::Value letter = object.required("ph");
    const std::size_t phase = static_cast<std::size_t>(std::find(kPhases.begin(), kPhases.end(), letter.text()) - kPhases.begin());
    if (phase == kPhases.size()) letter.fail(letter.quoted() + " is not a phase of our events", "known: M, X, s, f, C");
    if (events_ == 0) {
      if (phase != 0 || !object.has("name") || !object.required("name").is_text() || object.required("name").text() != "orrery") foreign();
      HeaderEvent e = as<HeaderEvent>(object);
      if (e.args.version != kVersion)
        object.required("args").object().required("orrery").fail(fmt::format("'{}' is not '{}'", e.args.version, kVersion));
      timeline_.origin = std::move(e.args.origin);
      timeline_.step = e.args.step;
      timeline_.streams = std::move(e.args.streams);
      timeline_.ranks = std::move(e.args.ranks);
      timeline_.weights = std::move(e.args.weights);
      timeline_.all_ranks = e.args.all_ranks;
      timeline_.kinds = std::move(e.args.kinds);
      if (!timeline_.weights.empty() && timeline_.weights.size() != timeline_.ranks.size())
        object.required("args").object().required("weights").fail(
            fmt::format("has {} numbers for {} ranks", timeline_.weights.size(), timeline_.ranks.size()), "write one a rank, or leave it out");
      return;
    }
    switch (kPhases[phase][0]) {
      case 'M':
        as<NameEvent>(object);
        break;
      case 'X':
        span(object);
        break;
      case 's': {
        const auto e = as<FlowStart>(object);
        timeline_.flows.push_back({static_cast<std::uint32_t>(e.args.from), static_cast<std::uint32_t>(e.args.to)});
        flow_lines_.push_back(object.required("args").where());
        break;
      }
      case 'f':
        as<FlowFinish>(object);
        break;
      default: {
        const auto e = as<MemoryEvent>(object);
        check_index(object, "pid", e.pid, timeline_.ranks.size(), "ranks");
        timeline_.memory.push_back({Picoseconds{e.ps}, static_cast<std::uint32_t>(e.pid), e.args.bytes});
      }
    }
  }
  void span(json::Object& object) {
    const auto e = as<SpanEvent>(object);
    json::Object args = object.required("args").object();
    check_index(object, "pid", e.pid, timeline_.ranks.size(), "ranks");
    check_index(object, "tid", e.tid, timeline_.streams.size(), "streams");
    check_index(args, "kind", e.args.kind, timeline_.kinds.size(), "kinds");
    if (e.args.ps[1] < e.args.ps[0]) args.required("ps").fail("ends before it starts");
    Span s;
    s.start = Picoseconds{e.args.ps[0]};
    s.end = Picoseconds{e.args.ps[1]};
    s.waited = Picoseconds{e.args.waited};
    s.transfer = Picoseconds{e.args.transfer};
    s.rank = static_cast<std::uint32_t>(e.pid);
    s.kind = static_cast<std::uint32_t>(e.args.kind);
    s.pass = static_cast<std::uint32_t>(e.args.pass);
    s.instruction = static_cast<std::uint16_t>(e.args.instruction);
    s.stream = static_cast<std::uint16_t>(e.tid);
    s.layer = static_cast<std::uint16_t>(e.args.layer);
    s.microbatch = static_cast<std::uint16_t>(e.args.microbatch);
    s.cause = static_cast<WaitCause>(std::find(kWaits.begin(), kWaits.end(), e.args.wait) - kWaits.begin());
    s.recompute = e.args.recompute;
    if (e.args.critical) timeline_.critical.push_back(static_cast<std::uint32_t>(timeline_.spans.size()));
    timeline_.spans.push_back(s);
  }
  void check_flows() const {
    for (std::size_t i = 0; i < timeline_.flows.size(); ++i) {
      const std::uint32_t last = std::max(timeline_.flows[i].from, timeline_.flows[i].to);
      if (last >= timeline_.spans.size()) {
        throw Error(flow_lines_[i], fmt::format("{} is not one of the {} spans", last, timeline_.spans.size()), "they are counted from 0");
      }
    }
  }

  // Whoever wrote the trace may have written its events in any order; arrows and the critical path name spans by their places in the file.
  void sort_spans() {
    std::vector<Span>& spans = timeline_.spans;
    const auto earlier = [](const Span& a, const Span& b) { return std::tie(a.rank, a.stream, a.start) < std::tie(b.rank, b.stream, b.start); };
    if (std::is_sorted(spans.begin(), spans.end(), earlier)) return;
    std::vector<std::uint32_t> order(spans.size()), place(spans.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return earlier(spans[a], spans[b]); });
    std::vector<Span> sorted;
    sorted.reserve(spans.size());
    for (const std::uint32_t i : order) {
      place[i] = static_cast<std::uint32_t>(sorted.size());
      sorted.push_back(spans[i]);
    }
    spans = std::move(sorted);
    for (Flow& flow : timeline_.flows) flow = {place[flow.from], place[flow.to]};
    for (std::uint32_t& i : timeline_.critical) i = place[i];
  }

  std::string_view text_;
  std::string file_;
  std::size_t at_ = 0, events_ = 0;
  std::uint32_t line_ = 1;
  Timeline timeline_;
  std::vector<std::string> flow_lines_;
};

}  // namespace

std::string write_chrome_trace(const Timeline& timeline) { return TraceWriter(timeline).write(); }
Timeline read_timeline(std::string_view text, std::string_view file) { return TraceReader(text, file).read(); }
Timeline load_timeline(const std::string& path) { return read_timeline(read_text_file(path, kLargestTrace), path); }

std::string schema::timeline_schema() {
  Tree kinds = Tree::list();
  kinds.push(Schema::of<HeaderEvent>()).push(Schema::of<NameEvent>()).push(Schema::of<SpanEvent>());
  kinds.push(Schema::of<FlowStart>()).push(Schema::of<FlowFinish>()).push(Schema::of<MemoryEvent>());
  Tree events = Tree::object();
  events.add("description", Tree::of("first the event named orrery, then the rest"))
      .add("type", Tree::of("array"))
      .add("minItems", Tree::of(std::int64_t{1}));
  events.add("items", Tree::object().add("anyOf", std::move(kinds)));
  Tree properties = Tree::object();
  properties.add("traceEvents", std::move(events)).add("displayTimeUnit", Tree::object().add("type", Tree::of("string")));
  Tree out = Tree::object();
  out.add("$schema", Tree::of("https://json-schema.org/draft/2020-12/schema")).add("title", Tree::of("Orrery timeline"));
  out.add("type", Tree::of("object")).add("additionalProperties", Tree::of(false)).add("required", Tree::list().push(Tree::of("traceEvents")));
  out.add("properties", std::move(properties));
  return out.text();
}

}  // namespace orrery
