"""Attention problems for the Volta and Turing kernels: every feature alone, then in the company it keeps."""

from __future__ import annotations

from cuda_reference import Case

VARLEN = ((1, 1), (65, 130), (0, 40), (200, 64), (128, 128), (33, 0))

FEATURES = [
    Case(),
    Case(s_q=1, s_kv=1, b=1, h_q=1, h_kv=1),
    Case(s_q=113, s_kv=203),
    Case(s_q=257, s_kv=511, d=128, causal=True),
    Case(s_q=300, s_kv=150, causal=True),
    Case(s_q=150, s_kv=300, causal=True, h_kv=2),
    Case(s_q=384, s_kv=384, causal=True, h_q=8, h_kv=1),
    Case(s_q=200, s_kv=260, window=(50, 0)),
    Case(s_q=200, s_kv=260, window=(33, 17), d=128),
    Case(s_q=260, s_kv=100, window=(20, 5)),
    Case(s_q=260, s_kv=260, causal=True, window=(64, -1)),
    Case(s_q=100, s_kv=400, window=(-1, 10)),
    Case(s_q=130, s_kv=190, softcap=15.0),
    Case(s_q=130, s_kv=190, softcap=30.0, causal=True, d=128),
    Case(s_q=130, s_kv=190, alibi=True),
    Case(s_q=190, s_kv=190, alibi=True, causal=True, d=128, h_kv=2),
    Case(s_q=190, s_kv=130, alibi=True, softcap=20.0, window=(70, 3)),
    Case(s_q=140, s_kv=140, scale=0.3),
    Case(s_q=140, s_kv=140, scale=-0.2, causal=True),
    Case(s_q=140, s_kv=140, scale=0.0, causal=True),
    Case(s_q=140, s_kv=300, layout="bnsd", d=128),
    Case(b=6, lengths=VARLEN),
    Case(b=6, lengths=VARLEN, causal=True, d=128, h_kv=2),
    Case(b=6, lengths=VARLEN, window=(30, 4), alibi=True),
    Case(b=6, lengths=VARLEN, used=(1, 100, 0, 64, 5, 0), causal=True),
    Case(s_q=64, s_kv=300, used=(300, 77), causal=True),
    Case(s_q=64, s_kv=300, used=(0, 1)),
    Case(s_q=1024, s_kv=2048, d=128, b=1, h_q=2, h_kv=2, causal=True),
    Case(s_q=2048, s_kv=1024, d=64, b=1, h_q=2, h_kv=1),
]

HEAD_DIMS = [
    Case(s_q=150, s_kv=170, d=d, causal=d % 2 == 0, b=1, h_q=2, h_kv=1)
    for d in (1, 3, 8, 17, 32, 40, 56, 63, 72, 80, 96, 100, 112, 127, 136, 160, 192, 200, 224, 250, 256)
]

ALL = FEATURES + HEAD_DIMS
