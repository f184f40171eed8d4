#include "executor/checkpoint/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/error.h"
#include "executor/kernels/narrow.h"

namespace orrery::executor {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored as they stand in memory");

struct TypeWords {
  std::string_view name;
  int bits;
};
constexpr std::array<TypeWords, 20> kTypes{{{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},    {"F8_E5M2", 8},
                                            {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16}, {"BF16", 16}, {"I32", 32},
                                            {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},    {"I64", 64}, {"U64", 64}}};

[[noreturn]] void unreadable(const std::filesystem::path& path) {
  throw Error(path.string(), "cannot be read: " + std::generic_category().message(errno));
}

void read_at(int file, const std::filesystem::path& path, std::int64_t from, void* to, std::int64_t bytes) {
  auto* out = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const ssize_t n = ::pread(file, out, static_cast<std::size_t>(std::min<std::int64_t>(bytes, 1 << 30)), from);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) unreadable(path);
    if (n == 0) throw Error(path.string(), "ends early: it was cut off while it was read");
    out += n, from += n, bytes -= n;
  }
}

}  // namespace

std::string_view name(StoredType type) { return kTypes[static_cast<std::size_t>(type)].name; }
int bits(StoredType type) { return kTypes[static_cast<std::size_t>(type)].bits; }

StoredType stored_type(DType type) {
  switch (type) {
    case DType::fp32:
    case DType::tf32:
      return StoredType::f32;
    case DType::bf16:
      return StoredType::bf16;
    case DType::fp16:
      return StoredType::f16;
    case DType::fp64:
      return StoredType::f64;
    default:
      throw Error("checkpoint", fmt::format("there are no checkpoints of {}", orrery::name(type)),
                  "keep parameters and states in fp32, bf16 or fp16");
  }
}

std::int64_t StoredTensor::elements() const {
  std::int64_t n = 1;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;  // whatever the others are
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

void SafetensorsHeader::append(std::string tensor, StoredType type, std::vector<std::int64_t> shape) {
  StoredTensor t{std::move(tensor), type, std::move(shape), bytes(), 0};
  t.end = t.begin + t.elements() * bits(type) / 8;
  tensors.push_back(std::move(t));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) {
    if (errno == ENOENT) throw Error(path.string(), "no such file");
    unreadable(path);
  }
  try {
    struct stat status {};
    if (::fstat(file_, &status) != 0) unreadable(path);
    if (!S_ISREG(status.st_mode)) throw Error(path.string(), "is not a file of tensors", "name a .safetensors file");
    const std::int64_t size = status.st_size;
    std::uint64_t length = 0;
    if (size < 8) throw Error(path.string(), fmt::format("has {} bytes, fewer than any safetensors file", size));
    read_at(file_, path, 0, &length, 8);
    if (length > static_cast<std::uint64_t>(kLongestHeader))
      throw Error(path.string(), fmt::format("says that its header has {} bytes, more than {}", length, kLongestHeader),
                  "is this a safetensors file?");
    if (static_cast<std::int64_t>(length) > size - 8)
      throw Error(path.string(), fmt::format("says that its header has {} bytes, but it has only {} in all", length, size));
    std::string text(length, '\0');
    read_at(file_, path, 8, text.data(), static_cast<std::int64_t>(length));
    data_ = 8 + static_cast<std::int64_t>(length);
    header_ = read_safetensors_header(text, path.string(), size - data_);
  } catch (...) {
    ::close(file_);
    throw;
  }
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) by_name_.emplace(header_.tensors[i].name, i);
}

SafetensorsFile::~SafetensorsFile() { ::close(file_); }

const StoredTensor* SafetensorsFile::find(const std::string& tensor) const {
  const auto found = by_name_.find(tensor);
  return found == by_name_.end() ? nullptr : &header_.tensors[found->second];
}

void SafetensorsFile::read(const StoredTensor& tensor, std::int64_t first, std::span<float> out) const {
  const auto n = static_cast<std::int64_t>(out.size());
  assert(first >= 0 && first + n <= tensor.elements());
  if (tensor.type == StoredType::f32) return read_at(file_, path_, data_ + tensor.begin + 4 * first, out.data(), 4 * n);
  if (tensor.type != StoredType::f64 && tensor.type != StoredType::bf16 && tensor.type != StoredType::f16)
    throw Error(path_.string(), fmt::format("'{}' is in {}, which parameters cannot be read from", tensor.name, name(tensor.type)),
                "convert it to F32, BF16 or F16");
  const std::int64_t width = bits(tensor.type) / 8;
  std::vector<std::byte> raw(static_cast<std::size_t>(n * width));
  read_at(file_, path_, data_ + tensor.begin + width * first, raw.data(), n * width);
  widen(raw.data(), tensor.type, out);
}

void narrow(std::span<const float> from, StoredType type, std::byte* to) {
  const auto each = [&](auto convert) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      const auto value = convert(from[i]);
      std::memcpy(to + i * sizeof value, &value, sizeof value);
    }
  };
  switch (type) {
    case StoredType::f32:
      std::memcpy(to, from.data(), from.size_bytes());
      break;
    case StoredType::bf16:
      each(to_bf16);
      break;
    case StoredType::f16:
      each(to_fp16);
      break;
    case StoredType::f64:
      each([](float x) { return static_cast<double>(x); });
      break;
    default:
      assert(false);
  }
}

void widen(const std::byte* from, StoredType type, std::span<float> to) {
  const auto each = [&](auto as, auto convert) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      decltype(as) value;
      std::memcpy(&value, from + i * sizeof value, sizeof value);
      to[i] = convert(value);
    }
  };
  switch (type) {
    case StoredType::f32:
      std::memcpy(to.data(), from, to.size_bytes());
      break;
    case StoredType::bf16:
      each(std::uint16_t{}, from_bf16);
      break;
    case StoredType::f16:
      each(std::uint16_t{}, from_fp16);
      break;
    case StoredType::f64:
      each(double{}, [](double x) { return static_cast<float>(x); });
      break;
    default:
      assert(false);
  }
}

}  // namespace orrery::executor
