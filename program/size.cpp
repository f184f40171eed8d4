#include "program/size.h"

#include <string>
#include <vector>

namespace orrery::program {
namespace {

template <class T>
std::size_t bytes(const std::vector<T>& values) {
  std::size_t sum = values.size() * sizeof(T);
  if constexpr (requires(const T& t) { t.name.size(); })
    for (const T& value : values) sum += value.name.size();
  return sum;
}

}  // namespace

Size size(const Program& p) {
  Size out;
  out.templates = sizeof(Program) + bytes(p.streams) + bytes(p.groups) + bytes(p.group_class) + bytes(p.shapes) + bytes(p.loads) + bytes(p.experts) +
                  bytes(p.roles);
  for (const Load& load : p.loads) out.templates += bytes(load.shapes);
  for (const std::vector<std::int32_t>& layer : p.experts) out.templates += bytes(layer);
  for (const Role& r : p.roles) {
    out.templates += bytes(r.chunks) + bytes(r.buffers) + bytes(r.events) + bytes(r.parameters) + bytes(r.buckets) + bytes(r.instructions) +
                     bytes(r.dependencies) + bytes(r.accesses) + bytes(r.passes);
    out.order += bytes(r.prologue) + bytes(r.body) + bytes(r.epilogue);
  }
  return out;
}

}  // namespace orrery::program
