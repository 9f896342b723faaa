"""The reasoner's tokens per second, beside the same model in llama.cpp's own loop."""

import time
from pathlib import Path
from typing import Any

from appliance.ids import uuid7
from appliance.launch import demo_model
from hub.reason.process import ModelProcess
from hub.reason.reasoner import reason
from hub.reason.settings import ReasonSettings
from tests.bench.figures import Figure
from tests.hub.builders import finding


def measure() -> list[Figure]:
    """Prompt and generation, with the grammar and without."""
    from llama_cpp import Llama  # noqa: PLC0415 - loads the library

    settings = ReasonSettings(dsn="", model=demo_model())
    threads = settings.usable_threads()
    model = ModelProcess(settings)
    model.warm()
    try:
        first = reason(finding(), uuid7(), model).model
        began = time.perf_counter()
        run = reason(finding(summary="another process is too large"), uuid7(), model).model
        seconds = time.perf_counter() - began
    finally:
        model.close()
    assert first is not None
    assert run is not None
    peer = Llama(
        str(demo_model()), n_ctx=4096, n_threads=threads, n_batch=256, verbose=False, seed=1
    )
    prompt, generated = _peer(peer)
    return [
        Figure(what="generation under the grammar", unit="tokens/s",
               value=1000 * run.output_tokens / max(1, run.output_ms),
               peer="llama.cpp without one", peer_value=generated, target="ratio ≥ 0.9"),
        Figure(what="prompt, nothing kept", unit="tokens/s",
               value=1000 * first.prompt_tokens / max(1, first.prompt_ms),
               peer="llama.cpp's own loop", peer_value=prompt),
        Figure(what="a second plan, the shared start of the prompt kept", value=seconds, unit="s"),
    ]  # fmt: skip


def _peer(model: Any) -> tuple[float, float]:
    text = (Path(__file__).parents[2] / "README.md").read_text()[:4000]
    tokens = model.tokenize(text.encode())[:700]
    began = time.perf_counter()
    model.eval(tokens)
    prompt = len(tokens) / (time.perf_counter() - began)
    began, count = time.perf_counter(), 0
    for token in model.generate([model.token_bos()], temp=0.0):
        count += 1
        if count == 100 or token == model.token_eos():
            break
    return prompt, count / (time.perf_counter() - began)
