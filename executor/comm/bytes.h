// Values as bytes between processes that run the same build: numbers as they lie in memory, texts and lists with their lengths.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/error.h"

namespace orrery::executor {

class ByteWriter {
 public:
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void text(std::string_view value) {
    put(static_cast<std::uint64_t>(value.size()));
    bytes_.append(value);
  }
  template <class T>
  void list(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    put(static_cast<std::uint64_t>(values.size()));
    if (!values.empty()) bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Throws Error where the bytes end early; lengths are looked at before anything is allocated.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    T value;
    std::memcpy(&value, next(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string text() { return std::string(next(get<std::uint64_t>())); }
  template <class T>
  std::vector<T> list() {
    const auto n = get<std::uint64_t>();
    if (n > bytes_.size() / sizeof(T)) cut_short();
    std::vector<T> values(static_cast<std::size_t>(n));
    const std::string_view from = next(n * sizeof(T));
    if (n > 0) std::memcpy(values.data(), from.data(), from.size());
    return values;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  [[noreturn]] static void cut_short() { throw Error("processes", "a message ended before it was whole"); }
  std::string_view next(std::uint64_t n) {
    if (n > bytes_.size()) cut_short();
    const std::string_view part = bytes_.substr(0, static_cast<std::size_t>(n));
    bytes_.remove_prefix(part.size());
    return part;
  }
  std::string_view bytes_;
};

}  // namespace orrery::executor
