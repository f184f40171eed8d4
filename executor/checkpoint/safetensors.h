// Files of tensors in the safetensors format: an 8-byte length, a JSON header that says where each tensor stands, and the tensors' bytes.
// Source: the format's specification, README of huggingface/safetensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace orrery::executor {

// Element types as the format names them.
enum class StoredType : std::uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64
};
std::string_view name(StoredType type);
int bits(StoredType type);
// fp32 and tf32, bf16, fp16 and fp64; throws Error for what parameters are never kept in.
StoredType stored_type(DType type);

// One tensor, row-major and little-endian, at bytes [begin, end) of what follows the header.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;
  bool operator==(const StoredTensor&) const = default;

  std::int64_t elements() const;
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  bool operator==(const SafetensorsHeader&) const = default;

  std::int64_t bytes() const { return tensors.empty() ? 0 : tensors.back().end; }  // of all tensors
  // Adds a tensor behind the others. Requires a positive shape that can be counted.
  void append(std::string tensor, StoredType type, std::vector<std::int64_t> shape);
};

inline constexpr std::int64_t kLongestHeader = 100'000'000;  // the format's own limit

// What stands before the tensors: the length, the header, and spaces up to a multiple of 8 bytes.
std::string write_safetensors_header(const SafetensorsHeader& header);
// `text`: the header alone; `bytes`: how many follow it. Throws Error at `file` where it is not what the format allows: keys given twice, unknown
// types, sizes that do not match their shapes, holes, overlaps, more or fewer bytes than there are.
SafetensorsHeader read_safetensors_header(std::string_view text, const std::string& file, std::int64_t bytes);
// {"metadata": {"total_size": …}, "weight_map": {tensor: file, …}}, beside the files of a set.
struct SafetensorsIndex {
  std::map<std::string, std::string> file_of;
  std::int64_t total_size = 0;  // bytes of all tensors
  bool operator==(const SafetensorsIndex&) const = default;
};
std::string write_safetensors_index(const SafetensorsIndex& index);
SafetensorsIndex read_safetensors_index(std::string_view text, const std::string& file);

// A file that is open for reading, whose header has been checked. Reading is safe from several threads at once.
class SafetensorsFile {
 public:
  // Throws Error at `path`.
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const SafetensorsHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return path_; }
  // Null: there is none of this name.
  const StoredTensor* find(const std::string& tensor) const;
  // Elements from `first` on, as fp32; from f64, f32, bf16 and f16 alone. Throws Error for other types and where the file cannot be read.
  void read(const StoredTensor& tensor, std::int64_t first, std::span<float> out) const;

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t data_ = 0;  // where the tensors begin
  SafetensorsHeader header_;
  std::map<std::string, std::size_t> by_name_;
};

// fp32, bf16, fp16 as bytes of their own types. To the nearest, ties to even.
void narrow(std::span<const float> from, StoredType type, std::byte* to);
void widen(const std::byte* from, StoredType type, std::span<float> to);

}  // namespace orrery::executor
