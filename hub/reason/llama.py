"""The model itself, through llama.cpp: the only module that imports its library.

Greedy, one question at a time, on processors alone, so that the same file, prompt, grammar and
library give the same answer. Where the grammar leaves one way, the text is appended in one batch
instead of being sampled; elsewhere the most likely token is checked first, then the best 64, the
whole vocabulary only if none of them fits. llama.cpp's own grammar reads every token as well.
"""

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from hub.reason import gbnf
from hub.reason.automaton import Automaton, State, may_end, must_end
from hub.reason.errors import CancelledError, ModelError
from hub.reason.frames import Answer, Ask
from hub.reason.prompt import Prompt, fit

BATCH = 256  # tokens; between batches a question can be given up
BEST = 64  # tokens looked at before the whole vocabulary
_PIECE = 256  # bytes; the longest piece of known vocabularies is about 130
_CHUNK = 1024 * 1024
_SYSTEM, _USER = "\x02system\x02", "\x02user\x02"  # no chat template contains these
_errors: list[str] = []


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _remember(level: int, text: bytes, _data: Any) -> None:
    if level == 4:  # noqa: PLR2004 - GGML_LOG_LEVEL_ERROR
        _errors[:] = [text.decode("utf-8", "replace").strip()]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class LlamaModel:
    """One loaded model with one context; keeps the last prompt, whose start is often the next's."""

    def __init__(self, path: Path, *, sha256: str, context_tokens: int, threads: int) -> None:
        llama_cpp.llama_log_set(_remember, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._name, self._sha256 = path.name, sha256
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise ModelError(f"llama.cpp cannot load it: {(_errors or ['no reason given'])[-1]}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._context = self._open(context_tokens, threads)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._size = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self._window = int(llama_cpp.llama_n_ctx(self._context))
        self._held: list[int] = []  # the tokens in the context's memory
        self._pieces: dict[int, str] = {}
        self._parameters: dict[str, int | str] = {
            "temperature": 0,
            "context_tokens": self._window,
            "threads": threads,
            "batch_tokens": BATCH,
            "library": f"llama-cpp-python {llama_cpp.__version__}",
        }

    def _open(self, context_tokens: int, threads: int) -> Any:
        wanted = llama_cpp.llama_context_default_params()
        trained = int(llama_cpp.llama_model_n_ctx_train(self._model))
        wanted.n_ctx = min(context_tokens, trained) if trained > 0 else context_tokens
        wanted.n_batch = wanted.n_ubatch = BATCH
        wanted.n_threads = wanted.n_threads_batch = threads
        wanted.no_perf = True
        context = llama_cpp.llama_init_from_model(self._model, wanted)
        if not context:
            raise ModelError(f"no context: {(_errors or ['no reason given'])[-1]}")
        return context

    def answer(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
        """Answer one question within its grammar; raises `CancelledError` when told to stop."""
        grammar = gbnf.read(question.grammar)  # a bad one would end this process
        prompt, tokens = self._prompt(question)
        began = monotonic()
        reused = self._hold(tokens)
        self._decode(tokens[reused:], go_on)
        read_at = monotonic()
        text, sampled, forced = self._generate(grammar, question, go_on)
        return Answer(
            text=text,
            model=self._name,
            model_sha256=self._sha256,
            seed=question.seed,
            parameters={**self._parameters, "evidence_lines": len(prompt.lines)},
            prompt_sha256=hashlib.sha256(
                "\0".join([prompt.system, prompt.head, *prompt.lines, prompt.tail]).encode()
            ).hexdigest(),
            prompt_tokens=len(tokens),
            reused_tokens=reused,
            output_tokens=sampled + forced,
            forced_tokens=forced,
            prompt_ms=round((read_at - began) * 1000),
            output_ms=round((monotonic() - read_at) * 1000),
        )

    def tokens_of(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text; only template text of our own may become special tokens."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        found = (llama_cpp.llama_token * room)()
        number = llama_cpp.llama_tokenize(self._vocab, data, len(data), found, room, False, special)
        if number < 0:
            raise ModelError("the tokenizer needs more tokens than bytes")
        return list(found[:number])

    def _prompt(self, question: Ask) -> tuple[Prompt, list[int]]:
        before, between, after = self._template()
        frame = sum(len(self.tokens_of(one, special=True)) for one in (before, between, after))
        prompt = fit(
            question.prompt,
            count=lambda text: len(self.tokens_of(text)),
            budget=self._window - question.most_tokens - frame - 2,
        )
        tokens = self.tokens_of(before, special=True)
        first = llama_cpp.llama_vocab_bos(self._vocab)
        if llama_cpp.llama_vocab_get_add_bos(self._vocab) and tokens[:1] != [first]:
            tokens = [first, *tokens]
        tokens += self.tokens_of(prompt.system)
        tokens += self.tokens_of(between, special=True)
        tokens += self.tokens_of(prompt.head)
        for line in (*prompt.lines, prompt.tail):
            tokens += self.tokens_of(line)
        tokens += self.tokens_of(after, special=True)
        if len(tokens) + question.most_tokens > self._window:
            raise ModelError(f"its context of {self._window} tokens is too short for this prompt")
        return prompt, tokens

    def _template(self) -> tuple[str, str, str]:
        """The chat template's text before, between and after system and user text."""
        raw = llama_cpp.llama_model_chat_template(self._model, None)
        if not raw:
            return "", "\n\n", "\n"
        write = Jinja2ChatFormatter(
            template=raw.decode("utf-8", "replace"),
            eos_token=self._token_text(llama_cpp.llama_vocab_eos(self._vocab)),
            bos_token=self._token_text(llama_cpp.llama_vocab_bos(self._vocab)),
        )
        try:
            both: list[Any] = [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": _USER},
            ]
            text = write(messages=both).prompt
        except Exception:  # noqa: BLE001 - some templates refuse a system message in their own way
            one: list[Any] = [{"role": "user", "content": f"{_SYSTEM}\n\n{_USER}"}]
            text = write(messages=one).prompt
        before, found, rest = text.partition(_SYSTEM)
        between, also, after = rest.partition(_USER)
        if not (found and also):
            raise ModelError("its chat template leaves out what it is told")
        return before, between, after

    def _hold(self, tokens: Sequence[int]) -> int:
        """Keep what the memory shares with these tokens, forget the rest; how many it shares."""
        same = 0
        for held, wanted in zip(self._held, tokens[:-1], strict=False):
            if held != wanted:
                break
            same += 1
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, same, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            same = 0
        self._held = list(tokens[:same])
        return same

    def _decode(self, tokens: Sequence[int], go_on: Callable[[], bool]) -> None:
        for at in range(0, len(tokens), BATCH):
            if not go_on():
                raise CancelledError("told to stop")
            some = tokens[at : at + BATCH]
            array = (llama_cpp.llama_token * len(some))(*some)
            batch = llama_cpp.llama_batch_get_one(array, len(some))
            if status := llama_cpp.llama_decode(self._context, batch):
                self._held = []
                raise ModelError(f"llama.cpp cannot decode (status {status})")
            self._held += some

    def _generate(
        self, grammar: gbnf.Grammar, question: Ask, go_on: Callable[[], bool]
    ) -> tuple[str, int, int]:
        walk, text, sampled, forced = Automaton(grammar), "", 0, 0
        state = walk.start
        referee = _Referee(self._vocab, grammar)
        try:
            while True:
                if must := walk.forced(state):
                    state, text = walk.advance(state, must), text + must
                    tokens = self.tokens_of(must)
                    forced += len(tokens)
                else:
                    tokens = [self._choose(walk, state, referee)]
                    sampled += 1
                    piece = self._piece(tokens[0])
                    state, text = walk.advance(state, piece), text + piece
                for token in tokens:
                    referee.accept(token)
                if must_end(state) or (may_end(state) and not walk.forced(state)):
                    return text, sampled, forced
                if sampled + forced >= question.most_tokens:
                    raise ModelError(f"its answer is longer than {question.most_tokens} tokens")
                self._decode(tokens, go_on)
        finally:
            referee.close()

    def _choose(self, walk: Automaton, state: State, referee: "_Referee") -> int:
        raw = llama_cpp.llama_get_logits_ith(self._context, -1)
        logits: npt.NDArray[np.float32] = np.ctypeslib.as_array(raw, shape=(self._size,))
        first = int(logits.argmax())
        if self._fits(first, walk, state, referee):
            return first
        best = np.argpartition(logits, -BEST)[-BEST:]
        for some in (best, np.arange(self._size, dtype=best.dtype)):
            order = np.lexsort((some, -logits[some]))  # by likelihood, ties by number
            for token in some[order]:
                if self._fits(int(token), walk, state, referee):
                    return int(token)
        raise ModelError("no token of its vocabulary fits the grammar")

    def _fits(self, token: int, walk: Automaton, state: State, referee: "_Referee") -> bool:
        piece = self._piece(token)
        return bool(piece) and bool(walk.advance(state, piece)) and referee.allows(token)

    def _piece(self, token: int) -> str:
        """A token's text; empty for control tokens and for all that is not ASCII."""
        if token not in self._pieces:
            text = self._token_text(token, special=False)
            self._pieces[token] = text if text.isascii() else ""
        return self._pieces[token]

    def _token_text(self, token: int, *, special: bool = True) -> str:
        room = ctypes.create_string_buffer(_PIECE)
        number = llama_cpp.llama_token_to_piece(self._vocab, token, room, _PIECE, 0, special)
        return room.raw[: max(0, number)].decode("utf-8", "replace")


class _Referee:
    """llama.cpp's own grammar as second reader: a token that it does not accept is not taken."""

    def __init__(self, vocab: Any, grammar: gbnf.Grammar) -> None:
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocab, grammar.text.encode(), b"root")
        if not self._sampler:
            raise ModelError("llama.cpp does not read the grammar")
        self._one = llama_cpp.llama_token_data()
        self._array = llama_cpp.llama_token_data_array(
            data=ctypes.pointer(self._one), size=1, selected=-1, sorted=False
        )

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        self._one.__init__(token, 1.0, 0.0)  # type: ignore[misc]  # the same place in memory
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(self._array))
        return float(self._one.logit) > float("-inf")

    def accept(self, token: int) -> None:
        """Go on behind the token; it must be allowed, or llama.cpp would end the process."""
        if not self.allows(token):
            raise ModelError("llama.cpp's grammar does not agree with ours")
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free it."""
        llama_cpp.llama_sampler_free(self._sampler)
