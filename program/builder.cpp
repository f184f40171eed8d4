#include "program/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/error.h"

namespace orrery::program {

constexpr std::uint32_t kMostInstructions = kNone;  // of a pass: their numbers have 16 bits, and the last means none

std::vector<StreamDecl> stream_table() {
  return {{"compute", StreamKind::compute},
          {"tp", StreamKind::comm},
          {"dp", StreamKind::comm},
          {"send-next", StreamKind::comm},
          {"recv-previous", StreamKind::comm},
          {"send-previous", StreamKind::comm},
          {"recv-next", StreamKind::comm},
          {"cp", StreamKind::comm},
          {"ep", StreamKind::comm}};
}

// --- Tables --------------------------------------------------------------------------------------------------------------------------------------

std::uint16_t Tables::intern(const Group& group, WorkClass work) {
  if (group_size(program_, group) <= 1) return kNone;
  const auto at = std::find(program_.groups.begin(), program_.groups.end(), group);
  if (at != program_.groups.end()) return static_cast<std::uint16_t>(at - program_.groups.begin());
  program_.groups.push_back(group);
  program_.group_class.push_back(work);
  return static_cast<std::uint16_t>(program_.groups.size() - 1);
}

std::uint16_t Tables::group(AxisMask axes) {
  // Axes of size one do not change the group: leaving them out keeps equal groups equal.
  for (std::size_t a = 0; a < kAxes; ++a)
    if (mesh().size[a] == 1) axes = static_cast<AxisMask>(axes & ~mask(static_cast<Axis>(a)));
  const WorkClass work = axes & (kDpAxes | mask(Axis::edp)) ? WorkClass::dp_comm
                         : axes & kPpAxis                   ? WorkClass::pp_comm
                         : axes & kCpAxes                   ? WorkClass::cp_comm
                         : axes & mask(Axis::ep)            ? WorkClass::ep_comm
                                                            : WorkClass::tp_comm;
  return intern(Group{axes, Group::Part::whole, static_cast<std::uint8_t>(segment)}, work);
}

std::uint16_t Tables::everyone() { return intern(Group{0, Group::Part::everyone}, WorkClass::pp_comm); }
std::uint16_t Tables::boundary_group(std::size_t after) {
  return intern(Group{0, Group::Part::boundary, static_cast<std::uint8_t>(after)}, WorkClass::pp_comm);
}

// Reduce gradients, though between pipeline stages.
std::uint16_t Tables::embedding_group() { return intern(Group{mask(Axis::pp), Group::Part::ends}, WorkClass::dp_comm); }
std::uint16_t Tables::mirror_group() { return intern(Group{mask(Axis::pp), Group::Part::mirrored}, WorkClass::dp_comm); }

std::size_t Tables::Hash::operator()(const Shape& s) const {
  std::size_t h = static_cast<std::size_t>(s.op) * 31 + static_cast<std::size_t>(s.dtype) * 7 + s.group;
  const auto mix = [&h](std::int64_t v) { h = (h ^ static_cast<std::size_t>(v)) * 0x9e3779b97f4a7c15ULL, h ^= h >> 29U; };
  for (const auto d : s.dims) mix(d);
  mix(s.bytes);
  return h;
}

std::uint32_t Tables::shape(const Shape& shape) {
  const auto [at, fresh] = shapes_.try_emplace(shape, static_cast<std::uint32_t>(program_.shapes.size()));
  if (fresh) program_.shapes.push_back(shape);
  return at->second;
}

std::uint16_t Tables::load(const Load& load) {
  const auto at = std::find(program_.loads.begin(), program_.loads.end(), load);
  if (at != program_.loads.end()) return static_cast<std::uint16_t>(at - program_.loads.begin());
  program_.loads.push_back(load);
  return static_cast<std::uint16_t>(program_.loads.size() - 1);
}

// --- Buffers -------------------------------------------------------------------------------------------------------------------------------------

template <class Make>
std::uint32_t Builder::declare(const Name& name, const Life& life, Make make) {
  const std::size_t hash =
      std::hash<std::string_view>{}(name.name) ^ (name.layer * 0x9e3779b97f4a7c15ULL + name.chunk * 2U + (name.second ? 1U : 0U));
  for (auto [at, end] = by_name_.equal_range(hash); at != end; ++at) {
    const Name& known = names_[at->second];
    if (known.layer == name.layer && known.chunk == name.chunk && known.second == name.second && role_.buffers[at->second].name == name.name)
      return at->second;
  }
  const auto id = static_cast<std::uint32_t>(role_.buffers.size());
  Buffer& buffer = role_.buffers.emplace_back(make());
  buffer.name = name.name, buffer.layer = name.layer;
  lives_.push_back(life);
  names_.push_back({{}, name.layer, name.chunk, name.second});
  by_name_.emplace(hash, id);
  return id;
}

namespace {

Buffer owning(BufferKind kind, Lifetime lifetime, DType type, std::int64_t elements) {
  Buffer b;
  b.kind = kind, b.lifetime = lifetime, b.dtype = type, b.elements = elements, b.bytes = bytes_of(type, elements);
  return b;
}

}  // namespace

std::uint32_t Builder::persistent(const std::string& name, BufferKind kind, DType type, std::int64_t elements) {
  return declare({name, kNone, kNone, false}, {}, [&] { return owning(kind, Lifetime::persistent, type, elements); });
}

std::uint32_t Builder::view(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t first_element, std::int64_t elements,
                            std::uint16_t in_layer) {
  const Buffer& root = role_.buffers[of];
  assert(root.alias < 0 && first_element >= 0 && first_element + elements <= root.elements);
  const Name whole{name, in_layer, root.lifetime == Lifetime::persistent ? kNone : half_.chunk, root.lifetime == Lifetime::pass && half_.second};
  const Life life = lives_[of];
  const std::uint32_t id = declare(whole, life, [&] {
    Buffer b;
    b.kind = kind, b.lifetime = root.lifetime, b.dtype = root.dtype, b.elements = elements;
    b.alias = static_cast<std::int32_t>(of), b.alias_offset = bytes_of(root.dtype, first_element);
    return b;
  });
  assert(role_.buffers[id].elements == elements && role_.buffers[id].alias == static_cast<std::int32_t>(of));
  return id;
}

std::uint32_t Builder::part(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t first_element, std::int64_t elements,
                            std::uint16_t group) {
  const std::uint32_t id = view(name, kind, of, first_element, elements);
  role_.buffers[id].part_of = group;
  assert(range(id).end <= bytes_of(role_.buffers[of].dtype, role_.buffers[of].elements));
  return id;
}

std::uint32_t Builder::turned(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t turn, std::uint16_t group,
                              std::uint16_t in_layer) {
  const std::int64_t part = role_.buffers[of].elements / tables_.size(group);
  const std::uint32_t id = view(name, kind, of, turn * part, part, in_layer);
  role_.buffers[id].part_of = group, role_.buffers[id].turn = static_cast<std::int16_t>(turn);
  return id;
}

std::uint32_t Builder::inside(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t first_element, std::int64_t elements,
                              std::uint16_t in_layer) {
  const Buffer& outer = role_.buffers[of];
  if (outer.alias < 0) return view(name, kind, of, first_element, elements, in_layer);
  const std::int64_t before = outer.alias_offset * 8 / bits(outer.dtype);
  return view(name, kind, static_cast<std::uint32_t>(outer.alias), before + first_element, elements, in_layer);
}

std::uint32_t Builder::across_passes(const std::string& name, BufferKind kind, DType type, std::int64_t elements) {
  Life life;
  life.across_passes = true;
  return declare({name, kNone, kNone, false}, life, [&] { return owning(kind, Lifetime::pass, type, elements); });
}

std::uint32_t Builder::temporary(const std::string& name, BufferKind kind, DType type, std::int64_t elements, std::uint16_t in_layer) {
  const std::uint32_t id = declare({name, in_layer, half_.chunk, half_.second}, {}, [&] { return owning(kind, Lifetime::pass, type, elements); });
  assert(role_.buffers[id].elements == elements && role_.buffers[id].dtype == type && role_.buffers[id].lifetime == Lifetime::pass);
  return id;
}

std::uint32_t Builder::stash(const std::string& name, BufferKind kind, DType type, std::int64_t elements, std::uint16_t in_layer, Life life,
                             Lifetime lifetime) {
  if (life.born_chunk == kNone) life.born_chunk = half_.chunk;
  if (life.dies_chunk == kNone) life.dies_chunk = half_.chunk;
  // The chunk that it is born in names it, so that all whom it passes through find the same.
  const std::uint32_t id = declare({name, in_layer, life.born_chunk, false}, life, [&] { return owning(kind, lifetime, type, elements); });
  assert(role_.buffers[id].elements == elements && role_.buffers[id].dtype == type && role_.buffers[id].lifetime == lifetime);
  return id;
}

// Whether its first touch in the pass being written allocates a buffer.
bool Builder::is_born(std::uint32_t root) const {
  const Lifetime lifetime = role_.buffers[root].lifetime;
  if (lives_[root].across_passes) return std::find(opening_.begin(), opening_.end(), root) != opening_.end();
  if (lifetime == Lifetime::pass) return true;
  const Life& life = lives_[root];
  if (lifetime == Lifetime::sequence && life.born_split != half_.split) return false;
  return lifetime != Lifetime::persistent && (life.born & mask(half_.kind)) && life.born_chunk == half_.chunk;
}

bool Builder::dies_in(std::uint32_t root, const Half& half) const {
  const Lifetime lifetime = role_.buffers[root].lifetime;
  if (lives_[root].across_passes) return std::find(closing_.begin(), closing_.end(), root) != closing_.end();
  if (lifetime == Lifetime::pass) return true;
  const Life& life = lives_[root];
  if (lifetime == Lifetime::sequence && life.dies_split != half.split) return false;
  return lifetime != Lifetime::persistent && (life.dies & mask(half.kind)) && life.dies_chunk == half.chunk;
}

std::uint16_t Builder::event(const std::string& name, bool per_microbatch) {
  for (std::size_t i = 0; i < role_.events.size(); ++i)
    if (role_.events[i].name == name) return static_cast<std::uint16_t>(i);
  role_.events.push_back({name, per_microbatch});
  return static_cast<std::uint16_t>(role_.events.size() - 1);
}

Builder::Range Builder::range(std::uint32_t buffer) const {
  const Buffer& b = role_.buffers[buffer];
  const std::int64_t bytes = bytes_of(b.dtype, b.elements);
  if (b.alias < 0) return {buffer, 0, bytes};
  return {static_cast<std::uint32_t>(b.alias), b.alias_offset, b.alias_offset + tables_.covered_bytes(b)};
}

// --- Templates -----------------------------------------------------------------------------------------------------------------------------------

void Builder::begin(PassKind kind, const std::string& name, std::uint16_t chunk, std::uint16_t split) {
  PassTemplate pass;
  pass.name = name, pass.kind = kind, pass.chunk = chunk, pass.split = split, pass.first = static_cast<std::uint32_t>(role_.instructions.size());
  role_.passes.push_back(pass);
  half_ = {kind, chunk, false, split};
  halves_ = {half_};
  layer = kNone, flags = 0, after_compute = false;
  dependencies_before_ = role_.dependencies.size(), accesses_before_ = role_.accesses.size();
  opening_.clear(), closing_.clear();
  ++pass_;
  touched_.clear(), touches_.clear(), expectations_.clear(), complete_before_.clear();
  for (auto& clock : known_) clock.fill(-1);
}

void Builder::continue_with(PassKind kind, std::uint16_t chunk, bool second) {
  half_ = {kind, chunk, second, 0};
  if (std::find(halves_.begin(), halves_.end(), half_) == halves_.end()) halves_.push_back(half_);
}

std::uint16_t Builder::end() {
  [[maybe_unused]] const auto owner = [this](std::uint32_t access) {
    return *std::find_if(role_.instructions.rbegin(), role_.instructions.rend(),
                         [access](const Instruction& i) { return i.access_count > 0 && i.accesses <= access; });
  };
  PassTemplate& pass = role_.passes.back();
  pass.count = static_cast<std::uint32_t>(role_.instructions.size()) - pass.first;
  if (pass.count > kMostInstructions)
    throw Error("parallel.pp", fmt::format("a pass has {} instructions, more than {}", pass.count, kMostInstructions), "use more stages");
  for (const std::uint32_t buffer : touched_)
    for (const bool second : {false, true}) {
      const std::uint32_t access = roots_[buffer].last_access[second];
      if (access == kUntouched) continue;
      if (std::any_of(halves_.begin(), halves_.end(), [&](const Half& half) { return half.second == second && dies_in(buffer, half); })) {
        role_.accesses[access].last = true;
        // Memory is given back in issue order, so nothing but the compute stream, which later allocations follow, may be the last to use it.
        assert(owner(access).stream == kCompute);
      }
    }
  return static_cast<std::uint16_t>(role_.passes.size() - 1);
}

void Builder::abandon() {
  role_.instructions.resize(role_.passes.back().first);
  role_.dependencies.resize(dependencies_before_);
  role_.accesses.resize(accesses_before_);
  role_.passes.pop_back();
}

Builder::Root& Builder::root(std::uint32_t buffer) {
  if (roots_.size() <= buffer) roots_.resize(role_.buffers.size());
  Root& out = roots_[buffer];
  if (out.pass != pass_) {
    out = {};
    out.pass = pass_;
    touched_.push_back(buffer);
  }
  return out;
}

void Builder::expect(std::uint32_t buffer, std::uint16_t event) {
  const Range at = range(buffer);
  Root& of = root(at.root);
  const auto me = static_cast<std::int32_t>(expectations_.size());
  (of.first_expectation < 0 ? of.first_expectation : expectations_[static_cast<std::size_t>(of.last_expectation)].next) = me;
  of.last_expectation = me;
  expectations_.push_back({at.begin, at.end, event, of_second(at.root), 0, -1});
}

void Builder::depend(std::uint8_t stream, std::uint16_t on, Clock& known, std::vector<Dependency>& out) {
  const Instruction& other = role_.instructions[role_.passes.back().first + on];
  if (other.stream == stream || known[other.stream] >= on) return;
  out.push_back({DependencyKind::local, on});
  const Clock& theirs = complete_before_[on];
  for (std::size_t s = 0; s < kStreams; ++s) known[s] = std::max(known[s], theirs[s]);
}

std::uint16_t Builder::emit(Instruction instruction, const Uses& uses, bool settles) {
  const std::uint32_t first = role_.passes.back().first;
  const auto me = static_cast<std::uint16_t>(role_.instructions.size() - first);
  const std::uint8_t stream = instruction.stream;
  Clock& known = known_[stream];
  dependencies_.clear(), wait_for_.clear();

  const auto allocates = [this](std::uint32_t buffer) { return last_access(root(buffer), buffer) == kUntouched && is_born(buffer); };
  if (stream != kCompute && (std::exchange(after_compute, false) ||
                             std::any_of(uses.begin(), uses.end(), [&](const Use& use) { return allocates(range(use.buffer).root); }))) {
    // What it reads may be of an earlier pass; or its memory may just have been given back by what the compute stream was told to do.
    dependencies_.push_back({DependencyKind::issued, kCompute});
    if (const std::int32_t last = known_[kCompute][kCompute]; last >= 0) {
      const Clock& theirs = complete_before_[static_cast<std::size_t>(last)];
      for (std::size_t s = 0; s < kStreams; ++s) known[s] = std::max(known[s], theirs[s]);
    }
  }

  for (const Use& use : uses) {
    const Range at = range(use.buffer);
    const Root& of = root(at.root);
    const bool write = settles || use.mode != AccessMode::read, second = of_second(at.root);
    for (std::int32_t i = of.first_expectation; i >= 0; i = expectations_[static_cast<std::size_t>(i)].next) {
      Expectation& e = expectations_[static_cast<std::size_t>(i)];
      if (e.begin >= at.end || at.begin >= e.end || e.second != second || (e.waited >> stream & 1U)) continue;
      e.waited = static_cast<std::uint16_t>(e.waited | 1U << stream);
      const Dependency on{DependencyKind::event, e.event};
      if (std::find(dependencies_.begin(), dependencies_.end(), on) == dependencies_.end()) dependencies_.push_back(on);
    }
    if ((of.streams & ~(1U << stream)) == 0) continue;
    for (std::size_t s = 0; s < kStreams; ++s) {
      if (s == stream || !(of.streams >> s & 1U)) continue;
      // The last conflicting touch of each stream implies the earlier ones.
      for (std::int32_t i = of.latest[s]; i >= 0; i = touches_[static_cast<std::size_t>(i)].previous) {
        const Touch& touch = touches_[static_cast<std::size_t>(i)];
        if (touch.begin < at.end && at.begin < touch.end && (write || touch.write)) {
          wait_for_.push_back(touch.instruction);
          break;
        }
      }
    }
  }
  // The latest first: it may imply the others.
  std::sort(wait_for_.begin(), wait_for_.end(), std::greater<>{});
  for (const std::uint16_t on : wait_for_) depend(stream, on, known, dependencies_);

  instruction.layer = instruction.layer == kNone ? layer : instruction.layer;
  instruction.flags = static_cast<std::uint8_t>(flags | (half_.second ? kSecond : 0));
  instruction.dependencies = static_cast<std::uint32_t>(role_.dependencies.size());
  instruction.dependency_count = static_cast<std::uint8_t>(dependencies_.size());
  instruction.accesses = static_cast<std::uint32_t>(role_.accesses.size());
  instruction.access_count = static_cast<std::uint8_t>(uses.size());
  assert(dependencies_.size() < 256 && uses.size() < 256);
  role_.dependencies.insert(role_.dependencies.end(), dependencies_.begin(), dependencies_.end());
  for (const Use& use : uses) {
    const Range at = range(use.buffer);
    const bool fresh = allocates(at.root);
    Root& of = root(at.root);
    last_access(of, at.root) = static_cast<std::uint32_t>(role_.accesses.size());
    role_.accesses.push_back({use.buffer, use.mode, fresh, false});
    const std::int32_t previous = of.streams >> stream & 1U ? of.latest[stream] : -1;
    of.streams = static_cast<std::uint16_t>(of.streams | 1U << stream), of.latest[stream] = static_cast<std::int32_t>(touches_.size());
    touches_.push_back({at.begin, at.end, settles || use.mode != AccessMode::read, me, previous});
  }
  known[stream] = me;
  complete_before_.push_back(known);
  role_.instructions.push_back(instruction);
  return me;
}

std::uint16_t Builder::busiest_load(Shape shape) {
  if (busiest == 0 || busiest == shape.dims[0]) return kNone;
  shape.bytes = shape.dims[0] > 0 ? shape.bytes / shape.dims[0] * busiest : 0;
  shape.dims[0] = busiest;
  return tables_.load({0, {tables_.shape(shape)}});
}

std::uint16_t Builder::compute(Operator op, std::initializer_list<std::int64_t> dims, const Uses& uses) {
  Shape shape;
  shape.op = op, shape.dtype = dtype;
  std::copy(dims.begin(), dims.end(), shape.dims.begin());
  Instruction i;
  i.opcode = Opcode::compute, i.op = op, i.stream = kCompute, i.shape = tables_.shape(shape), i.peer = std::exchange(next_peer, std::int8_t{0});
  i.load = busiest_load(shape);
  return emit(i, uses);
}

void Builder::compute_by_place(AxisMask axes, const std::vector<Shape>& shapes, const Uses& uses) {
  Instruction i;
  const auto largest = std::max_element(shapes.begin(), shapes.end(), [](const Shape& a, const Shape& b) { return flops(a).v < flops(b).v; });
  i.opcode = Opcode::compute, i.op = largest->op, i.stream = kCompute, i.shape = tables_.shape(*largest),
  i.peer = std::exchange(next_peer, std::int8_t{0});
  if (std::any_of(shapes.begin(), shapes.end(), [&](const Shape& s) { return s != *largest; })) {
    Load load{axes, {}};
    for (const Shape& s : shapes) load.shapes.push_back(tables_.shape(s));
    i.load = tables_.load(load);
  }
  emit(i, uses);
}

void Builder::collective(Operator op, std::uint8_t stream, std::uint16_t group, std::int64_t count, DType type, const Uses& uses,
                         std::uint16_t signal, std::int64_t servers) {
  if (group == kNone) return;
  Shape shape;
  shape.op = op, shape.dtype = type, shape.group = group, shape.dims[0] = count, shape.dims[1] = servers, shape.bytes = bytes_of(type, count);
  Instruction i;
  i.opcode = Opcode::collective, i.op = op, i.stream = stream, i.group = group, i.shape = tables_.shape(shape), i.signal = signal;
  emit(i, uses);
}

void Builder::exchange(Operator op, std::uint8_t stream, std::uint16_t group, std::initializer_list<std::int64_t> dims, DType type,
                       std::int64_t payload, const Uses& uses) {
  if (group == kNone) return;
  Shape shape;
  shape.op = op, shape.dtype = type, shape.group = group, shape.bytes = bytes_of(type, payload);
  std::copy(dims.begin(), dims.end(), shape.dims.begin());
  Instruction i;
  i.opcode = Opcode::collective, i.op = op, i.stream = stream, i.group = group, i.shape = tables_.shape(shape);
  i.load = busiest_load(shape);
  emit(i, uses);
}

void Builder::transfer(Opcode opcode, std::uint8_t stream, std::int8_t peer, std::uint8_t channel, const Use& use, std::uint16_t signal,
                       std::uint16_t group) {
  const Buffer& b = role_.buffers[use.buffer];
  Shape shape;
  shape.op = opcode == Opcode::send ? Operator::send : Operator::recv;
  shape.dtype = b.dtype, shape.group = group == kNone ? tables_.pipeline_group() : group;
  shape.dims[0] = b.elements, shape.bytes = bytes_of(b.dtype, b.elements);
  Instruction i;
  i.opcode = opcode, i.op = shape.op, i.stream = stream, i.group = shape.group, i.shape = tables_.shape(shape), i.signal = signal;
  i.peer = peer, i.channel = channel;
  emit(i, {use});
}

void Builder::send(std::uint8_t stream, std::int8_t peer, std::uint8_t channel, std::uint32_t buffer, std::uint16_t signal, std::uint16_t group) {
  transfer(Opcode::send, stream, peer, channel, r(buffer), signal, group);
}

void Builder::recv(std::uint8_t stream, std::int8_t peer, std::uint8_t channel, std::uint32_t buffer, std::uint16_t signal, std::uint16_t group) {
  transfer(Opcode::recv, stream, peer, channel, w(buffer), signal, group);
}

void Builder::settle(std::initializer_list<std::uint32_t> buffers) {
  Instruction i;
  i.opcode = Opcode::wait, i.op = Operator::wait, i.stream = kCompute, i.shape = tables_.shape(Shape{});
  Uses uses;
  for (const auto b : buffers) uses.push_back(r(b));
  emit(i, uses, true);
}

void Builder::wait_for(std::uint8_t stream) {
  const std::uint32_t first = role_.passes.back().first;
  for (std::uint32_t at = static_cast<std::uint32_t>(role_.instructions.size()); at-- > first;) {
    if (role_.instructions[at].stream != stream) continue;
    Instruction i;
    i.opcode = Opcode::wait, i.op = Operator::wait, i.stream = kCompute, i.shape = tables_.shape(Shape{});
    emit(i, {});
    // Added by hand: it guards no buffer of this template.
    Instruction& waiting = role_.instructions.back();
    const auto on = static_cast<std::uint16_t>(at - first);
    if (known_[kCompute][stream] >= on) return;
    role_.dependencies.push_back({DependencyKind::local, on});
    waiting.dependency_count = 1;
    known_[kCompute][stream] = on;
    complete_before_.back() = known_[kCompute];
    return;
  }
}

void Builder::host_wait(std::uint16_t index) {
  Instruction i;
  i.opcode = Opcode::host_wait, i.op = Operator::wait, i.stream = kCompute, i.shape = tables_.shape(Shape{});
  emit(i, {});
  Instruction& waiting = role_.instructions.back();
  role_.dependencies.push_back({DependencyKind::local, index});
  waiting.dependency_count = 1;
}

}  // namespace orrery::program
