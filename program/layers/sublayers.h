// What the sublayers of a transformer layer are written with. For the files of this folder only.
#pragma once

#include <string>

#include "program/layers/layers.h"

namespace orrery::program {

// Activations of one layer. `raw` is the projection's result before the norms of queries and keys, or `qkv` without them.
struct LayerBuffers {
  std::uint32_t x, y1, raw, qkv, attended, lse, x2, y2, up, activated;
};

LayerBuffers layer_buffers(const Context& c, std::int64_t l);

// --- Linears -------------------------------------------------------------------------------------------------------------------------------------

// On a gathered input, in the blocks in which it arrives.
void linear(const Context& c, std::uint32_t x, std::int32_t weight, std::int32_t bias, std::uint32_t y, std::int64_t in, std::int64_t out);
// Of a linear whose result's gradient `dy` was gathered: its input's.
void input_gradient(const Context& c, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in, std::int64_t out);
// In an input_grad it is left to the weight_grad.
void weight_gradient(const Context& c, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int32_t bias, std::int64_t in, std::int64_t out);
void bias_gradient(const Context& c, std::int32_t bias, std::uint32_t dy);
// y += x + bias.
void residual(const Context& c, std::uint32_t x, std::int32_t bias, std::uint32_t y);
// The same for any number of rows, without biases; and the input's gradient.
void linear_of(const Context& c, std::int64_t rows, std::uint32_t x, std::int32_t weight, std::uint32_t y, std::int64_t in, std::int64_t out);
void input_gradient_of(const Context& c, std::int64_t rows, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in,
                       std::int64_t out);
void weight_gradient_of(const Context& c, std::int64_t rows, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int64_t in,
                        std::int64_t out);
// A row-parallel linear whose summed result ends in `y`. `normed`, which was gathered for the linear before it, is given back with it where the
// backward pass makes it anew.
void row_parallel(const Context& c, const std::string& name, std::uint32_t x, std::int32_t weight, std::int64_t in, std::uint32_t y,
                  std::uint32_t normed);
// Backward of a column-parallel linear on the normed input `y`: its input gradient, summed over the group while the weight gradient is made.
std::uint32_t column_parallel_backward(const Context& c, const std::string& name, std::uint32_t y, std::uint32_t dout, std::int32_t weight,
                                       std::int32_t bias, std::int64_t out);
// All rows of `dx`, the gradient of a sublayer's result. A split backward keeps a copy in `whole`, since dx goes on.
std::uint32_t whole_gradient(const Context& c, std::uint32_t dx, std::uint32_t (*whole)(const Context&));

// --- Attention -----------------------------------------------------------------------------------------------------------------------------------

// The gradients of the results of the attention's linears, which their weight gradients are made of: of the whole sublayer, and of the fused
// projection before the norms of queries and keys.
std::uint32_t attention_result_gradient(const Context& c);
std::uint32_t qkv_gradient(const Context& c);
// From the gathered normed input to the heads' results.
void attention_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t in);
// From the gathered gradient of the sublayer's result to that of the fused projection's result.
std::uint32_t attention_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout);

// --- Latent attention ----------------------------------------------------------------------------------------------------------------------------

// From the normed input, of each rank's own rows, to the heads' results; from the gathered gradient of the sublayer's result to that of the normed
// input. mla_weight_grad includes the output projection's.
void mla_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a);
std::uint32_t mla_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout);
void mla_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a);

// --- Feed-forward --------------------------------------------------------------------------------------------------------------------------------

// The same for the feed-forward's.
std::uint32_t mlp_result_gradient(const Context& c);
std::uint32_t up_gradient(const Context& c);
// From the gathered normed input to the activation's result.
void mlp_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t in);
// From the gathered gradient of the sublayer's result to that of the up projection's result.
std::uint32_t mlp_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout);

// --- Mixture of experts --------------------------------------------------------------------------------------------------------------------------

// From the normed input: routing and what goes to other ranks; the experts and the shared ones (`ends`: to their results); what comes back, summed,
// with the residual.
void moe_dispatch_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a);
void moe_experts_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, bool ends);
void moe_combine_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t out);
// Backward, in the reverse order; moe_dispatch_backward ends with the norm's. `dx`: the gradient of the residual stream.
void moe_combine_backward(const Context& c, std::uint32_t dx);
void moe_experts_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dx);
void moe_dispatch_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dx);
void moe_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a);

}  // namespace orrery::program
