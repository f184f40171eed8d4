// The one artefact that the simulator and the executor both run: per role, a list of instructions in issue order, made of pass templates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "program/mesh.h"
#include "program/operators.h"

namespace orrery::program {

// --- Streams -------------------------------------------------------------------------------------------------------------------------------------
// A stream runs its instructions in issue order; across streams only dependencies order them. Every role has the same table.
enum class StreamKind : std::uint8_t { compute, comm, copy_in, copy_out, host, disk };
struct StreamDecl {
  std::string name;
  StreamKind kind = StreamKind::compute;
  bool operator==(const StreamDecl&) const = default;
};
inline constexpr std::uint8_t kComputeStream = 0;

// --- Buffers -------------------------------------------------------------------------------------------------------------------------------------
enum class BufferKind : std::uint8_t { parameter, gradient, optimizer_state, master, activation, temporary, communication, logits, input, scalar };
enum class Space : std::uint8_t { device, host, disk };
// persistent: allocated before the first step; microbatch: one instance per micro-batch, allocated and freed by marks, maybe in different passes;
// pass: one instance, allocated and freed by marks within one pass instance (or by the role's single list, for what a step has once).
// sequence: as microbatch, but where passes work on splits of a micro-batch's sequences, one instance for all splits.
enum class Lifetime : std::uint8_t { persistent, microbatch, pass, sequence };

// Which version of weights that are kept in several a view is of: those that the micro-batch's forward pass used, the latest, or the one after it,
// which an update makes.
enum class Version : std::uint8_t { only, stashed, latest, next };

struct Buffer {
  std::string name;
  BufferKind kind = BufferKind::temporary;
  Space space = Space::device;
  Lifetime lifetime = Lifetime::pass;
  DType dtype = DType::fp32;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;  // of one instance: bytes + bytes_per_unit x units of `load`; 0 for an alias
  std::int64_t bytes_per_unit = 0;
  std::uint16_t load = 0xffff;
  std::int32_t alias = -1;  // this buffer is a view into that one, `alias_offset` bytes in, and owns nothing
  std::int64_t alias_offset = 0;
  // An alias only: the members of this group (index into Program::groups) own one equal part each of a range that begins at alias_offset, in the
  // order of the group, and the view is the own one.
  std::uint16_t part_of = 0xffff;
  // Of part_of: the view is the part of the member so many before this one instead, and alias_offset is where it would begin if the own part were the
  // first. Parts of unlike turns are never the same, whatever the rank. -1: the own part, which may be any of the range.
  std::int16_t turn = -1;
  std::uint16_t layer = 0xffff;
  std::int64_t versions = 1;  // weight stashing keeps more than one, each of `bytes`
  Version version = Version::only;
  bool operator==(const Buffer&) const = default;
};

enum class AccessMode : std::uint8_t { read, write, update };
// A buffer touched by an instruction. Marks are placed by the compiler and take effect in issue order: an instance is allocated when the
// instruction with `first` is issued, and freed after the instruction with `last` was. The compiler guarantees that whatever stream still works on
// an instance has finished before its freeing instruction is complete, and that `last` stands on the compute stream only; an instruction of another
// stream with `first` waits for everything issued on the compute stream before it. Marks on a view are marks of what it views into.
struct Access {
  std::uint32_t buffer = 0;
  AccessMode mode = AccessMode::read;
  bool first = false, last = false;
  bool operator==(const Access&) const = default;
};

// --- Instructions --------------------------------------------------------------------------------------------------------------------------------
enum class Opcode : std::uint8_t {
  compute,     // runs on its stream
  collective,  // meets the other members of its group, on its stream
  send,
  recv,       // the k-th send from a to b on a channel meets the k-th recv by b from a on that channel (rendezvous)
  wait,       // no work: its stream waits for its dependencies; buffers may be freed here
  host_wait,  // no work: the host stops issuing until its dependencies are complete
};

enum class DependencyKind : std::uint8_t {
  local,   // instruction `index` of the same pass instance
  event,   // the most recent signal, in issue order, of event `index` (of this micro-batch, where the event is per micro-batch); none yet: satisfied
  issued,  // everything issued so far on stream `index`
};
struct Dependency {
  DependencyKind kind = DependencyKind::local;
  std::uint16_t index = 0;
  bool operator==(const Dependency&) const = default;
};

struct Event {
  std::string name;
  bool per_microbatch = false;
  bool operator==(const Event&) const = default;
};

inline constexpr std::uint16_t kNone = 0xffff;

enum InstructionFlags : std::uint8_t {
  kRecompute = 1,   // forward work run again in the backward pass
  kCountOnTp0 = 2,  // gradient_norm: only tp coordinate 0 adds its part (the parameters are replicated over tp)
  kCountNever = 4,  // gradient_norm: another rank holds the same parameters and counts them (tied embedding's copy)
  kOptimizer = 8,   // belongs to the optimizer's part of the waterfall whatever its operator
  kSecond = 16,     // of an overlapped pass's second micro-batch (PassInstance::second)
  // gradient_norm, where the norm is added up over all ranks because some parameters are experts':
  kCountOnData0 = 32,   // only the first of the ranks on the axes cp and dp adds its part
  kCountOnOuter0 = 64,  // only coordinate 0 on the outer factor of dp
  kCountOnEdp0 = 128,   // only edp coordinate 0
};

struct Instruction {
  Opcode opcode = Opcode::compute;
  Operator op = Operator::wait;
  std::uint8_t stream = kComputeStream;
  std::uint8_t flags = 0;
  std::uint16_t layer = kNone;                   // global layer number
  std::uint16_t group = kNone;                   // collective, send, recv: index into Program::groups
  std::uint32_t shape = 0;                       // index into Program::shapes
  std::uint32_t dependencies = 0, accesses = 0;  // first entry in Role::dependencies, Role::accesses
  std::uint8_t dependency_count = 0, access_count = 0;
  std::uint16_t signal = kNone;  // event that this instruction signals when it completes
  std::uint16_t load = kNone;    // index into Program::loads, which then says the shape on each rank; `shape` is the largest of them
  // send, recv: the peer's pp coordinate is mine + peer, modulo pp; across a boundary between segments, which of the rank's messages (peer_of).
  // attention_block_*: the keys are those of the rank so many before this one in its
  // ring, modulo cp_outer; or kAllKeys. load_*: tokens further on. cross_entropy_grad: the prediction module whose loss it is, from 1; 0: the
  // model's.
  std::int8_t peer = 0;
  std::uint8_t channel = 0;  // send, recv
  bool operator==(const Instruction&) const = default;
};
// The keys of all members of cp_outer in their order; in a pass over a split, of all splits up to it, one after the other.
inline constexpr std::int8_t kAllKeys = -128;
static_assert(sizeof(Instruction) <= 32 && std::is_trivially_copyable_v<Instruction>);

// --- Passes and roles ----------------------------------------------------------------------------------------------------------------------------
// release: waits until the micro-batch's send has completed and frees what was sent.
enum class PassKind : std::uint8_t {
  forward,
  backward,
  input_grad,
  weight_grad,
  forward_backward,  // a forward and a backward, interleaved: of `microbatch` and of `second`
  receive_forward,
  receive_backward,
  optimizer,
  release
};
std::string_view name(PassKind kind);

// A pass of one chunk, expanded once: `count` instructions from `first` in Role::instructions.
struct PassTemplate {
  std::string name;  // "forward", "backward, last micro-batch"
  PassKind kind = PassKind::forward;
  std::uint16_t chunk = 0;
  std::uint32_t first = 0, count = 0;
  std::uint16_t split = 0;  // of Program::splits
  bool operator==(const PassTemplate&) const = default;
};

struct PassInstance {
  std::uint16_t pass = 0;        // index into Role::passes
  std::uint16_t microbatch = 0;  // with sequence splits: micro-batch x splits + split
  std::uint16_t second = 0;      // the micro-batch of the instructions marked kSecond
  std::uint16_t ahead = 0;       // its micro-batch is one of so many steps later: an asynchronous pipeline is not empty between steps
  std::uint16_t of(const Instruction& i) const { return i.flags & kSecond ? second : microbatch; }
  bool operator==(const PassInstance&) const = default;
};

// One trainable matrix (or vector: cols = 1 … rows = 1), as this role holds it inside the flat parameter buffer.
struct Parameter {
  enum class Split : std::uint8_t { none, rows, cols };  // over tp; the shard starts at tp coordinate x local size
  enum class Init : std::uint8_t { normal, ones, zeros };
  std::string name;                               // global and unique: "layers.3.attention.q"; a tied table's copy has the same name
  std::int64_t offset = 0;                        // elements into all parameters of the role, in the order of the buckets
  std::int64_t rows = 0, cols = 0;                // local
  std::int64_t global_rows = 0, global_cols = 0;  // without padding; local rows or columns beyond them are padding and stay zero
  Split split = Split::none;
  Init init = Init::normal;
  double stddev = 0.02;
  // Of an expert: its number among those of this rank (-1: of none), how many these are, and one expert's rows of the global ones, where all experts
  // follow each other. Its split is over etp.
  std::int64_t expert = -1, local_experts = 0, expert_rows = 0;
  std::uint16_t layer = kNone;  // of an expert
  bool operator==(const Parameter&) const = default;
};
// Where in the whole parameter the shard of the rank at these coordinates begins. `experts`: of its layer, as Program::experts_of says.
struct Origin {
  std::int64_t row = 0, col = 0;
};
Origin origin(const Parameter& parameter, const Coordinates& c, std::span<const std::int32_t> experts = {});

// A contiguous range of the parameters that is reduced and updated as one. Offsets are as if the role held all of its parameters; where parameters
// are sharded, the role's parameter buffer holds one part of each bucket instead: `elements` / size of the group, from `shard_offset` on.
struct Bucket {
  std::int64_t offset = 0, elements = 0;  // padded to a multiple of the ranks that reduce it
  std::uint8_t count_flags = 0;           // kCountOnTp0, kCountNever
  std::uint16_t shards = kNone;           // the group among which the parameters are sharded
  std::int64_t shard_offset = 0;
  std::uint16_t owners = kNone;   // the group among which the update is shared: each member has an equal part of the optimizer's states
  std::int64_t owned_offset = 0;  // of the own part in the flat buffers of these states
  bool operator==(const Bucket&) const = default;
};

// Consecutive layers of a rank that its passes run as one: a stage of the whole pipeline.
struct Chunk {
  std::int64_t stage = 0, first_layer = 0, layers = 0;
  bool operator==(const Chunk&) const = default;
};

// All ranks that run the same instruction list: those of one coordinate on pp, of one segment.
struct Role {
  std::string name;        // "stage 3"; "rank 3" where a rank holds several stages
  std::int64_t stage = 0;  // coordinate on pp, counted through all segments
  std::vector<Chunk> chunks;
  std::vector<Buffer> buffers;
  std::vector<Event> events;
  std::vector<Parameter> parameters;
  std::vector<Bucket> buckets;
  std::vector<Instruction> instructions;
  std::vector<Dependency> dependencies;
  std::vector<Access> accesses;
  std::vector<PassTemplate> passes;
  // body: one step, repeated; dependencies on events may cross its end. Asynchronous: the prologue fills the pipeline, and the last step is the
  // epilogue instead, which lets it run empty.
  std::vector<PassInstance> prologue, body, epilogue;
  // Asynchronous: the i-th micro-batch of all uses the weights after max(0, i − lag) / Program::update_every updates (rounded down), forward and
  // backward.
  std::int64_t lag = 0;
  // Post-validation: templates. `validation` stands once in the body, before the first backward pass, and once in the epilogue, which is the last
  // step with what comes after it; it learns the squared norm of all stages' gradients of the step before, into validated_norm. Where that is beyond
  // what the plan clips at, all ranks finish what they have begun, give back everything that a step allocates, run `redo`, which takes their update
  // back and makes it with that norm, and run the step's passes before `validation` again. Gradients are zero only after it.
  std::uint16_t validation = kNone, redo = kNone;
  std::int32_t validated_norm = -1;
  // The flat buffers (of what this rank owns, where they are sharded); the loss where this role computes it. Before the first step gradients and loss
  // are zero; each step leaves its gradients zero and the local sum of its losses in the loss buffer, which whoever reads it clears.
  std::int32_t parameter_buffer = -1, gradient_buffer = -1, loss_buffer = -1;
  std::int32_t master_buffer = -1;  // of what this rank updates, where parameters are narrower than fp32 and not rounded at random
  bool operator==(const Role&) const = default;
};

// How an instruction reaches the device: eager, graph and compiled launches differ in what issuing costs the host; inline_host runs compute on the
// issuing thread itself (the CPU executor).
enum class Launch : std::uint8_t { eager, graph, compiled, inline_host };

// Work that differs between ranks of one role: the ranks at the i-th place on `axes` have the i-th shape, of equal operands. Without axes the one
// shape is the work of the rank that all others wait for, and Instruction::shape what they do on average.
struct Load {
  AxisMask axes = 0;
  std::vector<std::uint32_t> shapes;
  bool operator==(const Load&) const = default;
};

// Consecutive stages of one pipeline on consecutive ranks, split in one way.
struct SegmentMesh {
  Mesh mesh;
  std::int64_t first_rank = 0, first_stage = 0;
  std::int64_t micro_batch = 1;  // sequences of a micro-batch that each of its ranks has
  bool sp = false;               // the ranks of tp hold parts of an activation's rows; otherwise each all of them
  bool operator==(const SegmentMesh&) const = default;
};

struct Program {
  Mesh mesh;                          // of all ranks, where there are no segments
  std::vector<SegmentMesh> segments;  // in the order of stages and ranks; empty, or two and more
  std::vector<StreamDecl> streams;
  std::vector<Group> groups;
  std::vector<WorkClass> group_class;  // by group: the WorkClass of communication in it
  std::vector<Shape> shapes;
  std::vector<Load> loads;
  std::vector<Role> roles;  // by stage: coordinate on pp, through all segments
  Launch launch = Launch::eager;
  std::int64_t microbatches = 1, micro_batch = 1, sequence = 1, global_batch = 1;
  // Passes work on one of `splits` equal parts of a micro-batch's sequences, first to last; `microbatches` counts these parts.
  std::int64_t splits = 1;
  bool balanced_context = true;  // as ContextShare::balanced, for the ranks of cp
  // By layer, the experts in the order of the ranks of ep that hold them. Without a map of experts to ranks: empty, as if in order of their numbers.
  std::vector<std::vector<std::int32_t>> experts;
  std::int64_t update_every = 0;  // micro-batches per update of an asynchronous schedule; 0: all of a step
  double bubble_fraction = 0;     // of the schedule itself: idle share of the makespan with equal stages, B = 2F and free communication
  bool operator==(const Program&) const = default;

  // What an instruction is on the rank at `c`.
  std::uint32_t shape_of(const Instruction& instruction, const Coordinates& c) const {
    if (instruction.load == kNone) return instruction.shape;
    const Load& load = loads[instruction.load];
    return load.shapes[static_cast<std::size_t>(mesh_of(0).place(c, load.axes))];  // segments are alike on a load's axes
  }
  std::span<const std::int32_t> experts_of(std::uint16_t layer) const {
    return layer < experts.size() ? std::span<const std::int32_t>(experts[layer]) : std::span<const std::int32_t>{};
  }
  // The axes on which ranks of one role differ in their work.
  AxisMask loaded_axes() const {
    AxisMask axes = 0;
    for (const Load& load : loads) axes = static_cast<AxisMask>(axes | load.axes);
    return axes;
  }
  // Instances of a buffer that owns its bytes, and which of them a pass of `microbatch` means.
  std::size_t instances(const Buffer& buffer) const {
    return static_cast<std::size_t>(buffer.lifetime == Lifetime::microbatch ? microbatches
                                    : buffer.lifetime == Lifetime::sequence ? microbatches / splits
                                                                            : 1);
  }
  std::size_t instance(const Buffer& buffer, std::uint16_t microbatch) const {
    return buffer.lifetime == Lifetime::microbatch ? microbatch
           : buffer.lifetime == Lifetime::sequence ? microbatch / static_cast<std::size_t>(splits)
                                                   : 0;
  }
  // Bytes from where a view begins to where the last of its group's parts ends; of any other buffer its size.
  std::int64_t covered_bytes(const Buffer& buffer) const;

  std::int64_t micro_batches_per_update() const { return update_every > 0 ? update_every : microbatches; }
  // The number of updates that the weights of `version` have had, for the i-th micro-batch of all.
  std::int64_t updates(const Role& role, Version version, std::int64_t i) const {
    const std::int64_t every = micro_batches_per_update();
    if (version == Version::stashed) return std::max<std::int64_t>(0, i - role.lag) / every;
    return i / every + (version == Version::next ? 1 : 0);
  }

  // --- Ranks. Those of a segment follow those of the segment before it; coordinates are on the mesh of the rank's segment.
  std::int64_t ranks() const { return segments.empty() ? mesh.ranks() : segments.back().first_rank + segments.back().mesh.ranks(); }
  std::size_t segment_of(std::int64_t rank) const;
  std::size_t segment_of_role(std::size_t role) const;
  const Mesh& mesh_of(std::size_t segment) const { return segments.empty() ? mesh : segments[segment].mesh; }
  const Mesh& mesh_at(std::int64_t rank) const { return mesh_of(segment_of(rank)); }
  std::int64_t first_rank(std::size_t segment) const { return segments.empty() ? 0 : segments[segment].first_rank; }
  std::int64_t micro_batch_at(std::int64_t rank) const { return segments.empty() ? micro_batch : segments[segment_of(rank)].micro_batch; }
  Coordinates coordinates(std::int64_t rank) const { return mesh_at(rank).coordinates(rank - first_rank(segment_of(rank))); }
  std::size_t stage_of(std::int64_t rank) const;  // index into `roles`
  const Role& role_of(std::int64_t rank) const { return roles[stage_of(rank)]; }
  std::int64_t ranks_of_role(std::size_t role) const;
  // The rank of a role whose coordinates on all other axes are 0.
  std::int64_t first_of_role(std::size_t role) const;
};

// As in mesh.h, with the ranks' numbers among all segments'.
std::vector<std::int64_t> members(const Program& program, const Group& group, std::int64_t rank);
std::int64_t group_size(const Program& program, const Group& group);
std::int64_t first_member(const Program& program, const Group& group, std::int64_t rank);
std::string label(const Program& program, std::int64_t rank);

// Messages across the boundary after segment `before`. Each side of it divides an activation among the ranks of its stage, by sequences over dp and
// by positions over tp, and each row crosses once: from the rank to which the sending side assigns it to the one to which the receiving side does.
struct Boundary {
  std::size_t before = 0;                          // the segment before it
  std::int64_t sequence_parts = 1, row_parts = 1;  // of the finer division: of the micro-batch's sequences, of the rows of some of them
};
Boundary boundary(const Program& program, std::size_t before);
// A rank's messages: parts of its sequences, and of each as many blocks of its rows; message number = part x blocks + block, in the order in which
// they are sent and received.
struct Messages {
  std::int64_t parts = 1, blocks = 1;
};
Messages messages(const Program& program, const Boundary& boundary, std::size_t segment);
// At the other end of a send or recv that `rank` executes.
std::int64_t peer_of(const Program& program, std::int64_t rank, const Instruction& instruction);
std::int64_t peer_of(const Program& program, std::int64_t rank, bool sends, std::uint16_t group, std::int8_t peer);

}  // namespace orrery::program
