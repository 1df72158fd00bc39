"""Speed of transformers on Gemma 2 of 27B in bfloat16 with random weights: one JSON line. Greedy generation of one sequence."""
import json
import sys
import time

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

shape = dict(num_hidden_layers=46, hidden_size=4608, intermediate_size=36864, num_attention_heads=32, num_key_value_heads=16, head_dim=128, query_pre_attn_scalar=144)
if len(sys.argv) > 1 and sys.argv[1] == "tiny":
    shape = dict(num_hidden_layers=2, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2, head_dim=64, query_pre_attn_scalar=64)
device = "cuda" if torch.cuda.is_available() else "cpu"
config = Gemma2Config(vocab_size=256000, max_position_embeddings=8192, sliding_window=4096, **shape)
torch.set_default_dtype(torch.bfloat16)
with torch.device("meta"):
    model = Gemma2ForCausalLM(config)
model = model.to_empty(device=device)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.uniform_(-0.02, 0.02)
    for name, buffer in model.named_buffers():
        if "inv_freq" in name:
            dim = config.head_dim
            buffer.copy_(1.0 / (config.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)).to(device))
model.tie_weights()
model.eval()
tokens = torch.randint(1000, 200000, (1, 16), device=device)


def seconds(count):
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


seconds(4)
speeds = sorted(48 / (seconds(56) - seconds(8)) for _ in range(3))
print(json.dumps({"engine": f"transformers, torch {torch.__version__}", "generate_tokens_per_second": round(speeds[1], 2), "device": device}))
