// Writes one role's instruction list: interns shapes and groups, finds the dependencies between streams, places allocation and free marks.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "program/program.h"

namespace orrery::program {

// The streams that every role has, in Program::streams: one for each direction to and from the next and the previous rank of the pipeline (a ring).
enum Stream : std::uint8_t { kCompute = 0, kTp = 1, kDp = 2, kSendNext = 3, kRecvPrevious = 4, kSendPrevious = 5, kRecvNext = 6, kCp = 7, kEp = 8 };
inline constexpr std::size_t kStreams = 9;
std::vector<StreamDecl> stream_table();

// Sets of kinds of passes.
using PassMask = std::uint16_t;
constexpr PassMask mask(PassKind kind) { return static_cast<PassMask>(1U << static_cast<unsigned>(kind)); }
template <class... Kinds>
constexpr PassMask mask(PassKind first, Kinds... others) {
  return static_cast<PassMask>(mask(first) | mask(others...));
}

// What the roles of one Program share while it is being written: each shape and each group is stored once.
class Tables {
 public:
  explicit Tables(Program& program) : program_(program) {}
  std::size_t segment = 0;  // of the role that is being written: whose mesh groups are of
  // kNone for a group of one rank: such collectives are never emitted.
  std::uint16_t group(AxisMask axes);
  std::uint16_t embedding_group();
  // The two ranks that hold the same stages of a bidirectional pipeline.
  std::uint16_t mirror_group();
  // Every rank of all segments.
  std::uint16_t everyone();
  // The ranks on both sides of the boundary after a segment.
  std::uint16_t boundary_group(std::size_t segment);
  // The neighbours on the pipeline.
  std::uint16_t pipeline_group() { return group(mask(Axis::pp)); }
  std::uint32_t shape(const Shape& shape);
  std::uint16_t load(const Load& load);
  const Program& program() const { return program_; }
  const Mesh& mesh() const { return program_.mesh_of(segment); }
  std::int64_t size(std::uint16_t group) const { return group == kNone ? 1 : group_size(program_, program_.groups[group]); }
  std::int64_t covered_bytes(const Buffer& buffer) const { return program_.covered_bytes(buffer); }

 private:
  std::uint16_t intern(const Group& group, WorkClass work);

  struct Hash {
    std::size_t operator()(const Shape& s) const;
  };
  Program& program_;
  std::unordered_map<Shape, std::uint32_t, Hash> shapes_;
};

// One operand of an instruction being emitted.
struct Use {
  std::uint32_t buffer;
  AccessMode mode;
};
constexpr Use r(std::uint32_t b) { return {b, AccessMode::read}; }
constexpr Use w(std::uint32_t b) { return {b, AccessMode::write}; }
constexpr Use u(std::uint32_t b) { return {b, AccessMode::update}; }
using Uses = std::vector<Use>;

// Emits pass templates of one role. Within a template it adds the dependencies between streams that the accesses ask for and that are not implied by
// earlier ones; what another template wrote on another stream is announced by `expect`.
class Builder {
 public:
  Builder(Tables& tables, Role& role) : tables_(tables), role_(role) {}

  Tables& tables() { return tables_; }
  Role& role() { return role_; }

  // Buffers are found by name, layer and chunk, and declared when they are first asked for.
  std::uint32_t persistent(const std::string& name, BufferKind kind, DType dtype, std::int64_t elements);
  std::uint32_t view(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t first_element, std::int64_t elements,
                     std::uint16_t layer = kNone);
  // A view of the part that this rank owns where each member of `group` owns one of `elements`; the first begins at `first_element`.
  std::uint32_t part(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t first_element, std::int64_t elements,
                     std::uint16_t group);
  // A view of the part of the member `turn` before this one, where the members of `group` have equal parts of all of `of`.
  std::uint32_t turned(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t turn, std::uint16_t group, std::uint16_t layer);
  // A view into what may itself be one.
  std::uint32_t inside(const std::string& name, BufferKind kind, std::uint32_t of, std::int64_t first_element, std::int64_t elements,
                       std::uint16_t layer);
  // Allocated and freed within each pass that touches it.
  std::uint32_t temporary(const std::string& name, BufferKind kind, DType dtype, std::int64_t elements, std::uint16_t layer = kNone);
  // Allocated by the micro-batch's first touch in a pass of a kind in `born`, freed by its last in a pass of a kind in `dies`. The chunks whose
  // passes these are: the one that is being written, unless `life` names others.
  struct Life {
    PassMask born = 0, dies = 0;
    std::uint16_t born_chunk = kNone, dies_chunk = kNone;
    std::uint16_t born_split = kNone, dies_split = kNone;  // Lifetime::sequence: the splits whose passes these are
    bool across_passes = false;
  };
  std::uint32_t stash(const std::string& name, BufferKind kind, DType dtype, std::int64_t elements, std::uint16_t layer, Life life,
                      Lifetime lifetime = Lifetime::microbatch);

  // Lives from the pass that opens it to the one that closes it: its first touch after open() allocates, and its last in the pass that closes it
  // frees.
  std::uint32_t across_passes(const std::string& name, BufferKind kind, DType dtype, std::int64_t elements);
  void open(std::uint32_t buffer) { opening_.push_back(buffer); }
  void close(std::uint32_t buffer) { closing_.push_back(buffer); }

  std::uint16_t event(const std::string& name, bool per_microbatch);

  void begin(PassKind kind, const std::string& name, std::uint16_t chunk = 0, std::uint16_t split = 0);
  // Within a forward_backward: what follows is the forward of one chunk, or (`second`) the backward of another.
  void continue_with(PassKind kind, std::uint16_t chunk, bool second);
  // Places the free marks; returns the template's index.
  std::uint16_t end();
  // Takes back everything since begin() but the buffers that were declared: a rehearsal.
  void abandon();

  // From here on in this template, the first instruction of each stream that touches `buffer` waits for `event`.
  void expect(std::uint32_t buffer, std::uint16_t event);

  std::uint16_t chunk() const { return half_.chunk; }

  // Set for the instructions that follow.
  std::uint16_t layer = kNone;
  std::uint8_t flags = 0;
  DType dtype = DType::fp32;
  // The first dimension on the rank that all others wait for; 0: it is the same on all.
  std::int64_t busiest = 0;
  // Set for the next instruction, if it is on another stream: it waits for all that has been issued on the compute stream.
  bool after_compute = false;

  // Set for the next instruction that computes: Instruction::peer.
  std::int8_t next_peer = 0;

  // Each returns the instruction's index in its template.
  std::uint16_t compute(Operator op, std::initializer_list<std::int64_t> dims, const Uses& uses);
  // Of one shape by place on `axes`: they differ in no operand.
  void compute_by_place(AxisMask axes, const std::vector<Shape>& shapes, const Uses& uses);
  // `elements` and `bytes` of the whole, as in operators.h. Nothing happens for a group of one (kNone).
  void collective(Operator op, std::uint8_t stream, std::uint16_t group, std::int64_t elements, DType type, const Uses& uses,
                  std::uint16_t signal = kNone, std::int64_t servers = 0);
  // A collective of any dims, whose payload is so many elements.
  void exchange(Operator op, std::uint8_t stream, std::uint16_t group, std::initializer_list<std::int64_t> dims, DType type, std::int64_t payload,
                const Uses& uses);
  // `group`: of a boundary, of which `peer` is then a message; kNone: the neighbours on the pipeline.
  void send(std::uint8_t stream, std::int8_t peer, std::uint8_t channel, std::uint32_t buffer, std::uint16_t signal, std::uint16_t group = kNone);
  void recv(std::uint8_t stream, std::int8_t peer, std::uint8_t channel, std::uint32_t buffer, std::uint16_t signal, std::uint16_t group = kNone);
  // Makes the compute stream wait until no stream works on `buffers` any more; buffers whose last use is here are freed.
  void settle(std::initializer_list<std::uint32_t> buffers);
  // The same for everything issued on `stream` in this template.
  void wait_for(std::uint8_t stream);
  // The host stops issuing until instruction `index` of this template is complete.
  void host_wait(std::uint16_t index);
  // How many instructions this template has.
  std::uint16_t written() const { return static_cast<std::uint16_t>(role_.instructions.size() - role_.passes.back().first); }

  std::int64_t elements(std::uint32_t buffer) const { return role_.buffers[buffer].elements; }
  // Whether an instruction of this template has used the buffer, which owns its bytes.
  bool touched(std::uint32_t buffer) const { return buffer < roots_.size() && roots_[buffer].pass == pass_; }

 private:
  void transfer(Opcode opcode, std::uint8_t stream, std::int8_t peer, std::uint8_t channel, const Use& use, std::uint16_t signal,
                std::uint16_t group);
  // What an instruction of this template did to a range of bytes; `previous`: the one before it of the same buffer and stream.
  struct Touch {
    std::int64_t begin, end;
    bool write;
    std::uint16_t instruction;
    std::int32_t previous;
  };
  struct Expectation {
    std::int64_t begin, end;
    std::uint16_t event;
    bool second;           // of the second micro-batch's instance
    std::uint16_t waited;  // bit per stream
    std::int32_t next;
  };
  static constexpr std::uint32_t kUntouched = UINT32_MAX;
  // What this template did so far to a buffer that owns its bytes.
  struct Root {
    std::uint32_t pass = 0;  // of no earlier template
    std::uint16_t streams = 0;
    std::array<std::int32_t, kStreams> latest{};                       // by stream in `streams`: into touches_
    std::array<std::uint32_t, 2> last_access{kUntouched, kUntouched};  // of the first, of the second micro-batch: into Role::accesses
    std::int32_t first_expectation = -1, last_expectation = -1;
  };
  struct Range {
    std::uint32_t root;
    std::int64_t begin, end;
  };
  // What is being written: a pass, or one of the two of a forward_backward.
  struct Half {
    PassKind kind = PassKind::forward;
    std::uint16_t chunk = 0;
    bool second = false;
    std::uint16_t split = 0;
    bool operator==(const Half&) const = default;
  };
  struct Name {
    std::string_view name;
    std::uint16_t layer, chunk;
    bool second;
  };
  using Clock = std::array<std::int32_t, kStreams>;  // by stream: the last instruction of this template known to be complete

  std::uint16_t busiest_load(Shape shape);
  // The buffer of that name, which `make` describes if it is new.
  template <class Make>
  std::uint32_t declare(const Name& name, const Life& life, Make make);
  Root& root(std::uint32_t buffer);
  std::uint32_t& last_access(Root& root, std::uint32_t buffer) const { return root.last_access[half_.second && !lives_[buffer].across_passes]; }
  // What is announced of a micro-batch's instance is not said of the other micro-batch's.
  bool of_second(std::uint32_t root) const {
    const Lifetime lifetime = role_.buffers[root].lifetime;
    return half_.second && (lifetime == Lifetime::microbatch || lifetime == Lifetime::sequence);
  }
  bool is_born(std::uint32_t root) const;
  bool dies_in(std::uint32_t root, const Half& half) const;
  Range range(std::uint32_t buffer) const;
  std::uint16_t emit(Instruction instruction, const Uses& uses, bool settles = false);
  void depend(std::uint8_t stream, std::uint16_t on, Clock& known, std::vector<Dependency>& out);

  Tables& tables_;
  Role& role_;
  std::unordered_multimap<std::size_t, std::uint32_t> by_name_;  // by the name's hash
  std::vector<Life> lives_;                                      // by buffer
  std::vector<Name> names_;                                      // by buffer, without the text

  // Of the template being written:
  Half half_;
  std::vector<Half> halves_;
  std::size_t dependencies_before_ = 0, accesses_before_ = 0;
  std::vector<std::uint32_t> opening_, closing_;  // see across_passes
  std::uint32_t pass_ = 0;                        // counts templates, abandoned ones too
  std::vector<Root> roots_;                       // by buffer, as far as any was touched
  std::vector<std::uint32_t> touched_;            // roots of this template
  std::vector<Touch> touches_;
  std::vector<Expectation> expectations_;
  std::vector<Clock> complete_before_;  // by instruction: what is complete when it is
  std::array<Clock, kStreams> known_{};
  // Of the instruction being written; kept for their memory.
  std::vector<Dependency> dependencies_;
  std::vector<std::uint16_t> wait_for_;
};

}  // namespace orrery::program
