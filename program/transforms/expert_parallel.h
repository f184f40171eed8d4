// Expert parallelism: what the ranks that hold a layer's experts together exchange. Nothing happens where one rank holds them all.
#pragma once

#include <cstdint>

#include "program/layers/layers.h"

namespace orrery::program {

// While it lives, what is emitted takes as long as on the rank whose experts of the layer have most rows. The others wait for it at the next
// exchange, so that a step ends when it would if each rank were told apart.
class Busiest {
 public:
  explicit Busiest(const Context& c);
  ~Busiest() { b_.busiest = 0; }
  Busiest(const Busiest&) = delete;
  Busiest& operator=(const Busiest&) = delete;

 private:
  Builder& b_;
};

// How many copies go where: `counts` of this rank's copies by rank and expert, `received` of those for this rank's experts by source.
void exchange_counts(const Context& c, std::uint32_t counts, std::uint32_t received);

// To each rank in turn the rows that its part of `counts` says. `sent`, `most`: rows that there are, and rows that may come.
void exchange_rows(const Context& c, std::int64_t sent, std::int64_t width, std::uint32_t from, std::uint32_t counts, std::int64_t most,
                   std::uint32_t to);

// Where every rank is given all tokens: so many numbers of each, of all ranks from each rank's own; and each rank's own from what the experts of each
// rank add to those of all.
void gather_tokens(const Context& c, std::int64_t width, std::uint32_t own, std::uint32_t all);
void sum_tokens(const Context& c, std::int64_t width, std::uint32_t parts, std::uint32_t own);

}  // namespace orrery::program
