// Memory that moves: casts, copies of columns and heads.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {

namespace {

struct Cast {
  Array from, to;
  template <int V>
  __device__ void at(Index i) const {
    float x[V];
    load<V>(from, i, x);
    store<V>(to, i, x);
  }
};

// Of any type of this width: bits are moved, not numbers.
template <class Bits>
struct Columns {
  const Bits* from;
  Index from_width, from_first;
  Bits* to;
  Index to_width, to_first;
  template <int V>
  __device__ void at(Index row, Index c) const {
    move<V>(from + row * from_width + from_first + c, to + row * to_width + to_first + c);
  }
};

template <class Bits>
struct Scatter {
  HeadParts shape;
  Index rows;
  const Bits* x;
  Bits* y;
  template <int V>
  __device__ void at(Index row, Index c) const {
    const Index p = row / rows;
    move<V>(x + (row - p * rows) * shape.packed_width() + shape.packed_column(p, c), y + row * shape.part_width() + c);
  }
};

template <class T>
struct Gather {
  HeadParts shape;
  Index rows;
  const T* y;
  T* x;
  template <int V>
  __device__ void at(Index row, Index c) const {
    const HeadParts::Holders from = shape.holders(c);
    float sum[V]{};
    for (Index p = from.first; p < from.first + from.count; ++p) {
      float part[V];
      load<V>(y + (p * rows + row) * shape.part_width() + from.column, part);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += part[i];
    }
    store<V>(x + row * shape.packed_width() + c, sum);
  }
};

template <class T>
struct Broadcast {
  Array row;
  Index width;
  T* y;
  template <int V>
  __device__ void at(Index r, Index c) const {
    float x[V];
    load<V>(row, c, x);
    store<V>(y + r * width + c, x);
  }
};

// Calls f(Bits{}) for the unsigned type as wide as `type`.
template <class F>
void by_bits(DType type, F f) {
  switch (bits(type)) {
    case 8:
      return f(std::uint8_t{});
    case 16:
      return f(std::uint16_t{});
    case 64:
      return f(std::uint64_t{});
    default:
      return f(std::uint32_t{});
  }
}

}  // namespace

void cast(Stream stream, Index elements, Array from, Array to) {
  by_width<__half>({from.data, to.data}, {}, [&](auto v) { map<decltype(v)::value>(stream, elements, Cast{from, to}); });
}

void copy_bytes(Stream stream, Index bytes, const void* from, void* to) {
  if (bytes > 0 && from != to) check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream), "a copy");
}

void zero_bytes(Stream stream, Index bytes, void* to) {
  if (bytes > 0) check_cuda(cudaMemsetAsync(to, 0, static_cast<std::size_t>(bytes), stream), "zeroing");
}

void copy_columns(Stream stream, DType type, Index rows, Index columns, const void* from, Index from_width, Index from_first, void* to,
                  Index to_width, Index to_first) {
  by_bits(type, [&](auto b) {
    using Bits = decltype(b);
    by_width<Bits>({from, to}, {columns, from_width, from_first, to_width, to_first}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, rows, columns,
                                   Columns<Bits>{static_cast<const Bits*>(from), from_width, from_first, static_cast<Bits*>(to), to_width, to_first});
    });
  });
}

void scatter_heads(Stream stream, DType type, Index rows, const HeadParts& shape, const void* x, void* y) {
  by_bits(type, [&](auto b) {
    using Bits = decltype(b);
    by_width<Bits>({x, y}, {shape.qk_dim, shape.v_dim}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, shape.parts * rows, shape.part_width(),
                                   Scatter<Bits>{shape, rows, static_cast<const Bits*>(x), static_cast<Bits*>(y)});
    });
  });
}

void gather_heads(Stream stream, DType type, Index rows, const HeadParts& shape, const void* y, void* x) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({x, y}, {shape.qk_dim, shape.v_dim}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, rows, shape.packed_width(), Gather<T>{shape, rows, static_cast<const T*>(y), static_cast<T*>(x)});
    });
  });
}

void broadcast_row(Stream stream, DType type, Index rows, Index width, Array row, void* y) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({row.data, y}, {width}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, rows, width, Broadcast<T>{row, width, static_cast<T*>(y)});
    });
  });
}

}  // namespace orrery::executor::cuda
