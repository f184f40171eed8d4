#!/usr/bin/env python3
"""The same training step in plain PyTorch, to measure Orrery's against: Llama- and GPT-2-shaped models from our models/*.json, torch.compile,
scaled_dot_product_attention, fused AdamW, gradient clipping. Needs PyTorch 2 and nothing else.

  tools/pytorch_reference.py --model llama-3.2-1b --micro-batch 4 --global-batch 8 --sequence 4096 -o pytorch.json      time steps on the GPU
  tools/pytorch_reference.py --model cpu-llama-small --check CHECKPOINT --data FILE --sequence 256 --steps 5            losses with our weights, on the CPU

Parameters live in bf16 with fp32 masters, first and second moments (`--precision mixed`, what a plan with precision.params bf16 says), in fp32 under
autocast to bf16 (`autocast`, what most PyTorch users write), or all is fp32 (`fp32`). One step is what `orrery run` calls one: zero gradients, global-batch / micro-batch forward and backward passes summed in
grads' type, the norm of all gradients, clipping, AdamW. Timed by CUDA events from the first pass to the end of the update; median of --steps after
--warm-up."""
import argparse
import json
import math
import pathlib
import struct
import subprocess
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    sys.exit("pytorch_reference: PyTorch is not installed here")

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"


class Shape:
    """What a config.json says, as transformers reads it."""

    def __init__(self, name):
        path = pathlib.Path(name)
        c = json.loads((path if path.suffix == ".json" else MODELS / f"{name}.json").read_text())
        self.family = c["model_type"]
        if self.family not in ("llama", "mistral", "qwen2", "gpt2"):
            sys.exit(f"pytorch_reference: a model of the family '{self.family}' is not written here; llama, mistral, qwen2 and gpt2 are")
        self.gpt = self.family == "gpt2"
        get = lambda *names, default=None: next((c[n] for n in names if c.get(n) is not None), default)
        self.layers, self.hidden = get("num_hidden_layers", "n_layer"), get("hidden_size", "n_embd")
        self.heads = get("num_attention_heads", "n_head")
        self.kv_heads = get("num_key_value_heads", default=self.heads)
        self.head_dim = get("head_dim", default=self.hidden // self.heads)
        self.ffn = get("intermediate_size", "n_inner", default=4 * self.hidden)
        self.vocab, self.positions = c["vocab_size"], get("max_position_embeddings", "n_positions", default=1024)
        self.eps = get("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", default=1e-5 if self.gpt else 1e-6)
        self.tied = get("tie_word_embeddings", default=self.gpt)
        rope = get("rope_parameters", "rope_scaling", default={}) or {}
        self.theta = rope.get("rope_theta") or c.get("rope_theta") or 10000.0
        self.rope = rope if rope.get("rope_type", rope.get("type", "default")) != "default" else {}
        self.qkv_bias = self.gpt or self.family == "qwen2" or bool(c.get("attention_bias"))


def frequencies(shape):
    """Radians per position of each pair (i, i + head_dim/2); llama3's stretching as in transformers' modeling_rope_utils."""
    f = 1.0 / shape.theta ** (torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim)
    if not shape.rope:
        return f
    r = shape.rope
    if r.get("rope_type", r.get("type")) != "llama3":
        sys.exit(f"pytorch_reference: rope scaling {r} is not written here")
    old, low, high, factor = r["original_max_position_embeddings"], r["low_freq_factor"], r["high_freq_factor"], r["factor"]
    wave = 2 * math.pi / f
    smooth = ((old / wave - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * f / factor + smooth * f


class Norm(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(s.hidden))
        self.bias = nn.Parameter(torch.zeros(s.hidden)) if s.gpt else None
        self.eps = s.eps

    def forward(self, x):
        if self.bias is not None:
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        q, kv, narrow = s.heads * s.head_dim, s.kv_heads * s.head_dim, 0.02 / math.sqrt(2 * s.layers)
        linear = lambda i, o, bias: nn.Linear(i, o, bias=bias)
        self.norm1, self.norm2 = Norm(s), Norm(s)
        self.qkv = linear(s.hidden, q + 2 * kv, s.qkv_bias)
        self.out = linear(q, s.hidden, s.gpt)
        self.up = linear(s.hidden, s.ffn if s.gpt else 2 * s.ffn, s.gpt)  # Llama's: the gate's rows before the other's
        self.down = linear(s.ffn, s.hidden, s.gpt)
        for m, std in ((self.qkv, 0.02), (self.out, narrow), (self.up, 0.02), (self.down, narrow)):
            nn.init.normal_(m.weight, std=std)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, x, cos, sin):
        s, (b, t, _) = self.s, x.shape
        q, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
        q, k, v = self.qkv(self.norm1(x)).split((q, kv, kv), -1)
        q, k, v = (y.view(b, t, -1, s.head_dim).transpose(1, 2) for y in (q, k, v))
        if cos is not None:
            turn = lambda y: (y * cos + torch.cat((-y[..., s.head_dim // 2:], y[..., :s.head_dim // 2]), -1) * sin).to(y.dtype)
            q, k = turn(q), turn(k)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=s.kv_heads != s.heads)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, -1))
        y = self.up(self.norm2(x))
        if s.gpt:
            return x + self.down(F.gelu(y, approximate="tanh"))
        gate, other = y.chunk(2, -1)
        return x + self.down(F.silu(gate) * other)


class Transformer(nn.Module):
    def __init__(self, s, sequence):
        super().__init__()
        self.s = s
        self.table = nn.Embedding(s.vocab, s.hidden)
        nn.init.normal_(self.table.weight, std=0.02)
        self.position = nn.Embedding(s.positions, s.hidden) if s.gpt else None
        if s.gpt:
            nn.init.normal_(self.position.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = Norm(s)
        self.head = nn.Linear(s.hidden, s.vocab, bias=False)
        nn.init.normal_(self.head.weight, std=0.02)
        if s.tied:
            self.head.weight = self.table.weight
        angle = torch.outer(torch.arange(sequence, dtype=torch.float64), frequencies(s))
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, tokens, targets):
        x = self.table(tokens)
        if self.s.gpt:
            x = x + self.position.weight[: tokens.shape[1]]
        cos, sin = (None, None) if self.s.gpt else (self.cos.to(x.dtype), self.sin.to(x.dtype))
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.cross_entropy(self.head(self.norm(x)).float().flatten(0, 1), targets.flatten(), reduction="sum")


class Mixed:
    """AdamW on fp32 masters of bf16 parameters: what PyTorch's own optimizers leave to the user. The updates are torch.optim.AdamW's, fused."""

    def __init__(self, model, args, device):
        self.parameters = list(model.parameters())
        self.narrow = args.precision == "mixed"
        self.clip = args.clip
        self.grads32 = args.grads == "fp32" and self.narrow
        self.masters = [p.detach().float().clone() for p in self.parameters] if self.narrow else self.parameters
        self.sums = [torch.zeros_like(m) for m in self.masters] if self.grads32 else None
        fused = device.type == "cuda"
        self.adamw = torch.optim.AdamW(self.masters, lr=args.lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=fused)

    def accumulate(self):
        """After each backward pass: gradients are summed in fp32 where grads are."""
        if self.sums is not None:
            torch._foreach_add_(self.sums, [p.grad for p in self.parameters])
            for p in self.parameters:
                p.grad = None

    @torch.no_grad()
    def step(self):
        if self.narrow:
            for i, (p, m) in enumerate(zip(self.parameters, self.masters)):
                m.grad = self.sums[i] if self.sums is not None else p.grad.float()
        norm = torch.nn.utils.clip_grad_norm_(self.masters, self.clip if self.clip > 0 else math.inf, foreach=True)
        self.adamw.step()
        if self.narrow:
            torch._foreach_copy_(self.parameters, self.masters)
            if self.sums is not None:
                torch._foreach_zero_(self.sums)
            for p in self.parameters:
                p.grad = None
        else:
            self.adamw.zero_grad(set_to_none=True)
        return norm


def step_flops(s, tokens, sequence, convention):
    """Of forward and backward (3 times the forward pass), without recomputation. causal-half counts the half of the scores that a causal mask keeps."""
    weights = s.layers * (s.hidden * (s.heads + 2 * s.kv_heads) * s.head_dim + s.heads * s.head_dim * s.hidden + (2 if s.gpt else 3) * s.hidden * s.ffn)
    weights += s.hidden * s.vocab
    attention = 2 * 2 * s.layers * s.heads * s.head_dim * sequence / (2 if convention == "causal-half" else 1)
    return 3 * tokens * (2 * weights + attention)


def machine():
    out = {"torch": torch.__version__, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    try:
        out["commit"] = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=MODELS.parent, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        pass
    if torch.cuda.is_available():
        p = torch.cuda.get_device_properties(0)
        out |= {"device": p.name, "memory": p.total_memory, "multiprocessors": p.multi_processor_count, "cuda": torch.version.cuda}
        try:
            words = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.mem", "--format=csv,noheader"], capture_output=True, text=True, timeout=30)
            out["driver_and_clocks"] = words.stdout.strip().splitlines()[0]
        except (OSError, subprocess.TimeoutExpired, IndexError):
            pass
    else:
        out["device"] = "cpu"
    return out


def measure(args):
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("highest" if args.precision == "fp32" else "high")
    s = Shape(args.model)
    began = time.monotonic()
    with torch.device(device):
        model = Transformer(s, args.sequence)
    if args.precision == "mixed":
        cos, sin = model.cos, model.sin
        optimizer_source = model.to(torch.bfloat16)
        optimizer_source.cos, optimizer_source.sin = cos, sin
    optimizer = Mixed(model, args, device)
    forward = torch.compile(model) if args.compile else model
    passes = args.global_batch // args.micro_batch
    tokens = args.global_batch * args.sequence
    draw = lambda: torch.randint(0, s.vocab, (passes, args.micro_batch, args.sequence + 1), device=device)

    def one(batch):
        loss = torch.zeros((), device=device)
        for window in batch:
            with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "autocast"):
                part = forward(window[:, :-1], window[:, 1:]) / tokens
            part.backward()
            optimizer.accumulate()
            loss += part.detach()
        return loss, optimizer.step()

    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    losses, seconds, norm = [], [], None
    for i in range(args.warm_up + args.steps):
        batch = draw()
        wait()
        if device.type == "cuda":
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            loss, norm = one(batch)
            b.record()
            b.synchronize()
            took = a.elapsed_time(b) * 1e-3
        else:
            start = time.perf_counter()
            loss, norm = one(batch)
            took = time.perf_counter() - start
        losses.append(loss.item())
        if i >= args.warm_up:
            seconds.append(took)
        if args.seconds and seconds and time.monotonic() - began > args.seconds:
            break  # what there is counts; the report says how many
    seconds.sort()
    median = seconds[len(seconds) // 2] if len(seconds) % 2 else (seconds[len(seconds) // 2 - 1] + seconds[len(seconds) // 2]) / 2
    quartile = lambda q: seconds[min(len(seconds) - 1, int(q * len(seconds)))]
    flops = step_flops(s, tokens, args.sequence, "causal-half")
    report = machine() | {
        "model": args.model, "parameters": sum(p.numel() for p in model.parameters()), "precision": args.precision, "grads": args.grads, "compile": args.compile,
        "micro_batch": args.micro_batch, "global_batch": args.global_batch, "sequence": args.sequence,
        "step_s": median, "spread": (quartile(0.75) - quartile(0.25)) / 2 / median, "count": len(seconds), "warm_up": args.warm_up,
        "tokens_per_second": tokens / median, "flops_per_step": flops, "flops_convention": "causal-half: 3 x forward, scores under the mask only",
        "losses": losses, "last_gradient_norm": float(norm)}
    if args.peak:
        report |= {"mfu": flops / median / args.peak, "peak_flops": args.peak}
    if device.type == "cuda":
        report |= {"peak_allocated": torch.cuda.max_memory_allocated(), "peak_reserved": torch.cuda.max_memory_reserved()}
    return report


# --- The check against our own executor: its weights, its tokens ------------------------------------------------------------------------------------

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def tensors(folder):
    """All tensors of a checkpoint's model*.safetensors (the format's specification: huggingface/safetensors, README)."""
    out = {}
    for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        raw = path.read_bytes()
        (n,) = struct.unpack("<Q", raw[:8])
        for name, t in json.loads(raw[8:8 + n]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                out[name] = torch.frombuffer(bytearray(raw[8 + n + a:8 + n + b]), dtype=TYPES[t["dtype"]]).reshape(t["shape"])
    if not out:
        sys.exit(f"pytorch_reference: no model*.safetensors in {folder}")
    return out


def fill(model, weights):
    s, w = model.s, dict(weights)
    take = lambda name: w.pop(name).float()
    pre = "transformer." if s.gpt else "model."

    def put(parameter, value):
        if parameter.shape != value.shape:
            sys.exit(f"pytorch_reference: {tuple(value.shape)} does not fit {tuple(parameter.shape)}")
        with torch.no_grad():
            parameter.copy_(value)

    put(model.table.weight, take(pre + ("wte" if s.gpt else "embed_tokens") + ".weight"))
    if s.gpt:
        put(model.position.weight, take("transformer.wpe.weight"))
    for i, b in enumerate(model.blocks):
        at = f"{pre}{'h' if s.gpt else 'layers'}.{i}."
        if s.gpt:
            for ours, theirs in ((b.qkv, "attn.c_attn"), (b.out, "attn.c_proj"), (b.up, "mlp.c_fc"), (b.down, "mlp.c_proj")):
                put(ours.weight, take(at + theirs + ".weight").t())
                put(ours.bias, take(at + theirs + ".bias"))
            for ours, theirs in ((b.norm1, "ln_1"), (b.norm2, "ln_2")):
                put(ours.weight, take(at + theirs + ".weight"))
                put(ours.bias, take(at + theirs + ".bias"))
            continue
        together = lambda names, end: torch.cat([take(f"{at}{n}.{end}") for n in names])
        qkv = [f"self_attn.{x}_proj" for x in "qkv"]
        put(b.qkv.weight, together(qkv, "weight"))
        if b.qkv.bias is not None:
            put(b.qkv.bias, together(qkv, "bias"))
        put(b.out.weight, take(at + "self_attn.o_proj.weight"))
        put(b.up.weight, together(("mlp.gate_proj", "mlp.up_proj"), "weight"))
        put(b.down.weight, take(at + "mlp.down_proj.weight"))
        put(b.norm1.weight, take(at + "input_layernorm.weight"))
        put(b.norm2.weight, take(at + "post_attention_layernorm.weight"))
    last = "transformer.ln_f" if s.gpt else "model.norm"
    put(model.norm.weight, take(last + ".weight"))
    if s.gpt:
        put(model.norm.bias, take(last + ".bias"))
    if not s.tied:
        put(model.head.weight, take("lm_head.weight"))
    if w:
        sys.exit(f"pytorch_reference: the checkpoint has more than the model: {sorted(w)[:3]}")


def check(args):
    """Losses and gradient norms of the first steps with a checkpoint's weights (`orrery run --init`), in fp32 on the CPU, on a text of one window."""
    s = Shape(args.model)
    model = Transformer(s, args.sequence)
    fill(model, tensors(args.check))
    args.precision, args.grads = "fp32", "fp32"
    optimizer = Mixed(model, args, torch.device("cpu"))
    text = list(pathlib.Path(args.data).read_bytes())
    if len(text) != args.sequence + 1:
        sys.exit(f"pytorch_reference: {args.data} has {len(text)} bytes, not one window of {args.sequence} + 1 tokens")
    batch = torch.tensor(text).expand(args.global_batch, -1)
    out = {"losses": [], "gradient_norms": []}
    for _ in range(args.steps):
        loss = model(batch[:, :-1], batch[:, 1:]) / (args.global_batch * args.sequence)
        loss.backward()
        out["losses"].append(loss.item())
        out["gradient_norms"].append(float(optimizer.step()))
    return machine() | {"model": args.model} | out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="llama-3.2-1b", help="a name in models/, or a config.json")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--micro-batch", type=int, default=1)
    p.add_argument("--global-batch", type=int, default=1)
    p.add_argument("--sequence", type=int, default=1024)
    p.add_argument("--precision", choices=("mixed", "autocast", "fp32"), default="mixed")
    p.add_argument("--grads", choices=("fp32", "bf16"), default="fp32", help="of mixed: the type in which gradients are summed")
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--warm-up", type=int, default=5)
    p.add_argument("--seconds", type=float, help="stop measuring after so many, compilation included")
    p.add_argument("--no-compile", dest="compile", action="store_false")
    p.add_argument("--lr", type=float, default=3e-4)
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--peak", type=float, help="FLOP/s of the device, for the MFU")
    p.add_argument("--check", metavar="CHECKPOINT", help="a checkpoint's folder: losses of the first steps with its weights")
    p.add_argument("--data", metavar="FILE", help="of --check: a text of sequence + 1 bytes, so that every sample is all of it")
    p.add_argument("-o", "--output")
    args = p.parse_args()
    if args.global_batch % args.micro_batch:
        p.error("--global-batch must be a multiple of --micro-batch")
    if args.check and not args.data:
        p.error("--check needs --data")
    text = json.dumps(check(args) if args.check else measure(args), indent=1)
    if args.output:
        pathlib.Path(args.output).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
