#include "profiler/profile_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <cassert>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "profiler/operands.h"

namespace orrery::profiler {
namespace {

using executor::CommOperation;
using program::Operator;

// Operations of a batch; the first, for which ranks have just met, is not counted.
constexpr std::int64_t kBatch = 8;
constexpr std::int64_t kMostBeside = 64;  // operations of a batch beside products

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
std::int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string describe(const WorldItem& i) {
  return fmt::format("{} of {} bytes, {} ranks{}", program::name(i.what.op), i.what.bytes, i.what.ranks,
                     i.nodes > 1 ? fmt::format(" on {} nodes", i.nodes) : std::string());
}

std::vector<std::int64_t> members_of(const WorldItem& item, std::int64_t node_size) {
  std::vector<std::int64_t> members;
  const std::int64_t each = std::max<std::int64_t>(1, item.what.ranks / std::max<std::int64_t>(1, item.nodes));
  for (std::int64_t i = 0; i < item.what.ranks; ++i) members.push_back(i / each * node_size + i % each);
  return members;
}

// Elements that a member brings and gets, and that the operation counts.
struct Sizes {
  std::int64_t elements = 0, in = 0, out = 0;
};
Sizes sizes_of(const CollectiveItem& item, DType type) {
  const std::int64_t width = std::max<std::int64_t>(1, bytes_of(type, 8) / 8), whole = std::max<std::int64_t>(1, (item.bytes + width - 1) / width);
  const std::int64_t shard = (whole + item.ranks - 1) / item.ranks;
  switch (item.op) {
    case Operator::reduce_scatter:
      return {shard * item.ranks, shard * item.ranks, shard};
    case Operator::all_gather:
      return {shard * item.ranks, shard, shard * item.ranks};
    case Operator::all_to_all:
      return {shard, shard * item.ranks, shard * item.ranks};
    default:
      return {whole, whole, whole};
  }
}
std::int64_t padded(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

enum class Mode : std::uint8_t { alone, product, both };

// What ranks do next; decided by all processes alike, from what all of them brought.
struct Step {
  std::size_t item = 0;
  Mode mode = Mode::alone;
  std::int64_t operations = kBatch, products = 0;
};

// What one rank measured in a step: seconds of each operation, and of one product.
struct Measured {
  std::vector<double> operations;
  double product = 0;
};

class Run {
 public:
  Run(executor::World& world, const std::vector<WorldItem>& items, const WorldProfileOptions& options,
      const std::function<void(const ProfileProgress&)>& progress, const std::atomic<bool>* cancel)
      : world_(world), items_(items), options_(options), progress_(progress), cancel_(cancel), here_(world.here()), measured_(here_.size()) {
    for (const WorldItem& i : items_) {
      const Sizes s = sizes_of(i.what, options_.type);
      const std::int64_t bytes = padded(bytes_of(options_.type, s.in)) + padded(bytes_of(options_.type, s.out));
      const bool fits = options_.memory <= 0 || bytes <= options_.memory;
      fits_.push_back(fits);
      if (fits) room_ = std::max(room_, bytes);
    }
  }

  WorldProfile run() {
    next_item(0);
    std::barrier meet(static_cast<std::ptrdiff_t>(here_.size()), [this]() noexcept { decide(); });
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < here_.size(); ++i)
      threads.emplace_back([this, i, &meet] {
        try {
          work(i, meet);
        } catch (...) {
          fail(std::current_exception());
          meet.arrive_and_drop();
        }
      });
    for (std::thread& t : threads) t.join();
    if (failure_) std::rethrow_exception(failure_);
    now_.done = now_.total = static_cast<std::int64_t>(items_.size());
    now_.what = "done";
    if (progress_ && !ended_early_) progress_(now_);
    return std::move(out_);
  }

 private:
  void fail(std::exception_ptr failure) {
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::move(failure);
    }
    world_.abort("a rank of the profiler failed");
  }

  bool over() const { return step_.item >= items_.size(); }

  // Whether there are products to run beside collectives.
  bool beside(const WorldItem& item) const { return item.beside && options_.product.op != Operator::wait && world_.has(options_.product); }

  // The first item from `i` on that can be measured begins.
  void next_item(std::size_t i) {
    sampling_.reset();
    for (; i < items_.size(); ++i) {
      if (fits_[i] && items_[i].what.ranks > 1) break;
      out_.left_out.push_back(describe(items_[i]) + ": too large");
    }
    step_ = {i, Mode::alone, kBatch, 0};
    if (over()) return;
    now_.total = static_cast<std::int64_t>(items_.size());
    now_.done = static_cast<std::int64_t>(i);
    now_.what = describe(items_[i]);
    if (progress_) progress_(now_);
  }

  template <class Barrier>
  void work(std::size_t place, Barrier& meet) {
    const std::int64_t rank = here_[place];
    const std::unique_ptr<executor::Device> device = world_.device(rank);
    const std::unique_ptr<executor::Communicator> communicator = world_.communicator(rank, *device);
    std::byte* const room = device->allocate(std::max<std::int64_t>(256, room_));
    // The product's operands, once they are needed.
    std::vector<void*> operands;
    executor::KernelSettings settings;
    settings.parameters = settings.gradients = options_.product.dtype;
    const bool wanted = std::any_of(items_.begin(), items_.end(), [this](const WorldItem& i) { return beside(i); });
    if (wanted) {
      const OperatorItem item{options_.product, 3, {}};  // without a bias
      std::uint64_t state = static_cast<std::uint64_t>(rank) * 2 + 1;
      for (const Operand& o : operands_of(item, settings)) {
        std::vector<std::byte> host(static_cast<std::size_t>(o.bytes));
        fill(o, host.data(), state);
        operands.push_back(device->allocate(o.bytes));
        device->upload(operands.back(), host.data(), o.bytes);
      }
    }
    device->synchronise();
    meet.arrive_and_wait();
    while (!over() && !failed()) {
      measured_[place] = {};
      const WorldItem& item = items_[step_.item];
      const std::vector<std::int64_t> members = members_of(item, options_.node_size);
      if (std::find(members.begin(), members.end(), rank) != members.end())
        measured_[place] = measure(item, members, rank, *device, *communicator, room, operands, settings);
      meet.arrive_and_wait();
    }
    device->synchronise();
  }

  bool failed() {
    const std::lock_guard lock(mutex_);
    return failure_ != nullptr;
  }

  Measured measure(const WorldItem& item, const std::vector<std::int64_t>& members, std::int64_t rank, executor::Device& device,
                   executor::Communicator& communicator, std::byte* room, const std::vector<void*>& operands,
                   const executor::KernelSettings& settings) {
    const Sizes sizes = sizes_of(item.what, options_.type);
    CommOperation operation;
    operation.op = item.what.op;
    operation.dtype = options_.type;
    operation.elements = sizes.elements;
    operation.input = room;
    operation.output = room + padded(bytes_of(options_.type, sizes.in));
    operation.members = members;
    if (item.what.op == Operator::broadcast) operation.input = operation.output;
    std::array<std::int64_t, 2> pair{};
    const bool message = item.what.op == Operator::send;
    const bool takes_part = !message || rank == members.front() || rank == members.back();
    if (message) {
      const bool sends = rank == members.front();
      operation.op = sends ? Operator::send : Operator::recv;
      pair = {rank, sends ? members.back() : members.front()};
      operation.members = pair;
    }
    std::vector<executor::Ticket> tickets;
    if (step_.mode != Mode::product && takes_part)
      for (std::int64_t k = 0; k < step_.operations; ++k) tickets.push_back(communicator.start(operation));

    Measured out;
    std::int64_t product_end = 0;
    if (step_.products > 0) {
      const executor::Mark begin = device.mark();
      const std::int64_t began = now_ns();
      for (std::int64_t k = 0; k < step_.products; ++k) device.kernels().run({options_.product, operands, settings});
      const executor::Mark end = device.mark();
      const std::int64_t first = device.immediate() ? began : device.reached_ns(begin);
      product_end = device.immediate() ? now_ns() : device.reached_ns(end);
      out.product = static_cast<double>(product_end - first) * 1e-9 / static_cast<double>(step_.products);
    }
    std::int64_t before = 0;
    for (std::size_t k = 0; k < tickets.size(); ++k) {
      const executor::CommTimes t = communicator.wait(tickets[k]);
      const std::int64_t from = std::max(t.arrived_ns, before);
      before = t.end_ns;
      // Beside products only those count that were over before the products were.
      if (k > 0 && (step_.mode != Mode::both || t.end_ns <= product_end))
        out.operations.push_back(static_cast<double>(std::max<std::int64_t>(1, t.end_ns - from)) * 1e-9);
    }
    return out;
  }

  // Runs while every rank of this process waits in the barrier.
  void decide() noexcept {
    try {
      if (over()) return;
      if (begun_)
        take(exchange());
      else
        exchange();  // all are ready
      begun_ = true;
    } catch (...) {
      fail(std::current_exception());
    }
  }

  // By operation the slowest, by product the median; of all processes; and whether it is to end, or the time is up.
  struct All {
    std::vector<double> operations;
    double product = 0;
    bool cancelled = false, no_time = false;
  };
  All exchange() {
    // Of this process.
    std::string mine = fmt::format("{} {}", cancel_ && cancel_->load() ? 1 : 0, seconds_now() - started_ > options_.limit.v ? 1 : 0);
    for (const Measured& m : measured_) {
      if (m.operations.empty() && m.product <= 0) continue;
      mine += fmt::format(" | {:.17g} {}", m.product, m.operations.size());
      for (const double d : m.operations) mine += fmt::format(" {:.17g}", d);
    }
    All all;
    std::vector<double> products;
    const std::vector<std::string> everybody = world_.gather(mine);
    for (std::size_t p = 0; p < everybody.size(); ++p) {
      std::istringstream text(everybody[p]);
      int cancelled = 0, late = 0;
      text >> cancelled >> late;
      all.cancelled = all.cancelled || cancelled != 0;
      if (p == 0) all.no_time = late != 0;  // clocks are not compared
      for (std::string bar; text >> bar;) {
        double product = 0;
        std::size_t n = 0;
        text >> product >> n;
        if (product > 0) products.push_back(product);
        // Members of one operation count it alike; beside products some count fewer.
        const bool first = all.operations.empty();
        std::vector<double> operations(n);
        for (double& d : operations) text >> d;
        if (first) all.operations = operations;
        all.operations.resize(std::min(all.operations.size(), n));
        for (std::size_t k = 0; k < all.operations.size(); ++k) all.operations[k] = std::max(all.operations[k], operations[k]);
      }
    }
    if (!products.empty()) all.product = estimate_median(products).median;
    return all;
  }

  void take(const All& all) {
    if (all.cancelled) {
      ended_early_ = true;
      step_.item = items_.size();
      return;
    }
    const WorldItem& item = items_[step_.item];
    switch (step_.mode) {
      case Mode::alone: {
        if (!sampling_) sampling_.emplace(options_.rule);
        for (const double d : all.operations) sampling_->add(d, Seconds{d});
        if (all.operations.empty() || (!sampling_->done() && !all.no_time)) {
          if (all.operations.empty()) throw Error("profile", describe(item) + " was measured by nobody");
          return;
        }
        const MedianEstimate e = sampling_->result();
        const std::string name = item.what.op == Operator::send ? "send_recv" : std::string(program::name(item.what.op));
        out_.collectives.push_back(
            {name, item.what.op == Operator::send ? 2 : item.what.ranks, Bytes{item.what.bytes}, Seconds{e.median}, e.spread, e.count, item.nodes});
        alone_ = e.median;
        if (all.no_time) return leave_the_rest();
        if (!beside(item)) return next_item(step_.item + 1);
        step_ = {step_.item, Mode::product, 0, 4};
        return;
      }
      case Mode::product: {
        product_alone_ = std::max(1e-9, all.product);
        // Products for as long as four operations take, or four of them; operations for half as long again.
        const auto products = std::max<std::int64_t>(4, static_cast<std::int64_t>(std::ceil(4 * alone_ / product_alone_)));
        const double window = static_cast<double>(products) * product_alone_;
        const auto operations = static_cast<std::int64_t>(std::ceil(1.5 * window / alone_)) + 2;
        step_ = {step_.item, Mode::both, std::clamp<std::int64_t>(operations, 4, kMostBeside), products};
        return;
      }
      case Mode::both: {
        if (!all.operations.empty() && all.product > 0) {
          const MedianEstimate e = estimate_median(all.operations);
          const std::string name(program::name(item.what.op));
          out_.interference.push_back({name,
                                       item.what.ranks,
                                       Bytes{item.what.bytes},
                                       std::string(program::name(options_.product.op)),
                                       {options_.product.dims[0], options_.product.dims[1], options_.product.dims[2]},
                                       e.median / alone_,
                                       all.product / product_alone_,
                                       e.count});
        }
        if (all.no_time) return leave_the_rest();
        return next_item(step_.item + 1);
      }
    }
  }

  void leave_the_rest() {
    for (std::size_t i = step_.item + 1; i < items_.size(); ++i) out_.left_out.push_back(describe(items_[i]) + ": no time");
    step_.item = items_.size();
  }

  executor::World& world_;
  const std::vector<WorldItem>& items_;
  const WorldProfileOptions& options_;
  const std::function<void(const ProfileProgress&)>& progress_;
  const std::atomic<bool>* cancel_;
  const double started_ = seconds_now();
  std::vector<std::int64_t> here_;
  std::vector<bool> fits_;
  std::int64_t room_ = 0;
  std::vector<Measured> measured_;  // by rank here
  Step step_;                       // written by the barrier's completion only
  bool begun_ = false, ended_early_ = false;
  std::optional<Sampling> sampling_;
  double alone_ = 0, product_alone_ = 0;
  ProfileProgress now_;
  WorldProfile out_;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

std::vector<WorldItem> world_items(std::int64_t ranks, std::int64_t node_size, std::int64_t most) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t bytes = 1024; bytes <= most; bytes *= 4) sizes.push_back(bytes);
  std::vector<std::pair<std::int64_t, std::int64_t>> groups;  // ranks, nodes
  const std::int64_t local = std::min(ranks, node_size), nodes = std::max<std::int64_t>(1, ranks / std::max<std::int64_t>(1, node_size));
  for (std::int64_t n = 2; n <= local; n *= 2) groups.emplace_back(n, 1);
  if (local > 2 && (local & (local - 1)) != 0) groups.emplace_back(local, 1);
  for (std::int64_t m = 2; m <= nodes; m *= 2) {
    groups.emplace_back(m, m);
    if (node_size > 1) groups.emplace_back(m * node_size, m);
  }
  std::vector<WorldItem> items;
  for (const auto& [n, on] : groups)
    for (const Operator op :
         {Operator::all_reduce, Operator::all_gather, Operator::reduce_scatter, Operator::all_to_all, Operator::broadcast, Operator::send}) {
      if (op == Operator::send && n != 2) continue;
      for (std::size_t i = 0; i < sizes.size(); ++i)
        items.push_back({{op, n, sizes[i]}, on, (op == Operator::all_reduce || op == Operator::all_gather) && i + 3 >= sizes.size()});
    }
  return items;
}

WorldProfile profile_world(executor::World& world, const std::vector<WorldItem>& items, const WorldProfileOptions& options,
                           const std::function<void(const ProfileProgress&)>& progress, const std::atomic<bool>* cancel) {
  for ([[maybe_unused]] const WorldItem& i : items)
    assert(i.nodes >= 1 && i.what.ranks % i.nodes == 0 && (i.nodes - 1) * options.node_size + i.what.ranks / i.nodes <= world.ranks());
  return Run(world, items, options, progress, cancel).run();
}

}  // namespace orrery::profiler
