"""The page computes what PyTorch does: its mathematics under Node.js, the whole page in headless Chromium."""

import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from torch import Tensor

from makemore.config.schema import Level
from makemore.data.cache import read_documents
from makemore.data.dataset import Dataset
from makemore.data.documents import Documents
from makemore.data.minibatches import EvaluationBatches
from makemore.data.vocabulary import Vocabulary
from makemore.inference import page
from makemore.inference.evaluation import mean_loss
from makemore.models.base import LanguageModel
from makemore.models.mlp.config import Gradients, Init
from makemore.models.model_file import TrainedModel
from makemore.models.ngram.config import Smoothing
from makemore.views import style
from tests.helpers import build, check, composed, refused

MLP: dict[str, Any] = {"emb_dim": 10, "hidden": 200, "init": Init.kaiming, "dropout": 0.0, "gradients": Gradients.auto}
PREFIXES = ["", "e", "em", "emm", "emma", "christophe", "zq", "xxxxxx"]
EXACT = 1e-5


@cache
def names() -> Documents:
    return read_documents(check(composed()).data)


def network(name: str = "mlp", block_size: int = 3, **keys: Any) -> LanguageModel:
    """A network with weights as large as those of a trained one."""
    model = build(name, 27, block_size, **(MLP if name == "mlp" else {}) | keys)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return model.eval()


def as_trained(model: LanguageModel, documents: Documents) -> TrainedModel:
    return TrainedModel(model, documents.vocabulary, {"model": model.config.name}, {}, 7, documents.known, [])


def page_of(model: LanguageModel, documents: Documents, dev_loss: float = 2.0) -> str:
    trained = as_trained(model, documents)
    return page.make_page(trained, page.extract_layers(trained), documents, dev_loss)


def data_of(html: str) -> Any:
    (data,) = re.findall(r'<script type="application/json" id="run">(.*?)</script>', html, re.DOTALL)
    return json.loads(data)


@cache
def counts(block_size: int, smoothing: Smoothing) -> LanguageModel:
    model = build("ngram", 27, block_size, smoothing=smoothing, k=1.0, discount=None)
    model.fit(Dataset.from_documents(names(), block_size))
    return model


@torch.no_grad()
def logits_after(model: LanguageModel, prefix: str) -> Tensor:
    ids = names().vocabulary.encode_text(prefix).tolist()
    context = torch.tensor([[0] * model.block_size + ids])[:, -model.block_size :]
    logits: Tensor = model(context)[0]
    return logits.double()


def dev_loss_of(model: LanguageModel) -> float:
    return mean_loss(model, EvaluationBatches(Dataset.from_documents(names(), model.block_size).dev))


def losses_of(model: LanguageModel, name: str) -> list[float]:
    after = [(name[:at], character) for at, character in enumerate(name)] + [(name, ".")]
    tokens = names().vocabulary.tokens
    return [-float(logits_after(model, prefix).log_softmax(0)[tokens.index(c)]) for prefix, c in after]


# ---- models.js under Node.js


def compute(html: str, expression: str, tmp_path: Path) -> Any:
    """What JavaScript makes of an expression, with the functions of models.js, and `run`, the page's data."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node, which runs JavaScript outside a browser, is not installed")
    (tmp_path / "run.json").write_text(json.dumps(data_of(html)))
    code = f"""
        const {{ readText, readDocuments, makeNetwork, countBigram, countNgram, soften, measureName, measureDocuments,
                 makeRandom, drawName }} = require({json.dumps(str(page.PARTS / "models.js"))});
        const run = JSON.parse(require("fs").readFileSync("run.json"));
        const network = makeNetwork(run), [train, dev] = [run.train, run.dev].map((text) => readDocuments(run, text));
        const idsOf = (text) => readText(run, text).ids;
        console.log(JSON.stringify({expression}));
    """
    done = subprocess.run([node, "-e", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "model",
    [
        network(),
        network(block_size=5, emb_dim=2, recency=0.5, direct=True),
        network(hidden=0, direct=True),
        network("deep", emb_dim=5, hidden=30, layers=3, batch_norm=True, gain=5 / 3),
    ],
    ids=["lecture", "direct", "no hidden layer", "deep"],
)
def test_the_network_in_javascript_is_the_one_in_pytorch(tmp_path: Path, model: LanguageModel) -> None:
    code = f"{json.dumps(PREFIXES)}.map((text) => Array.from(soften(network.logits(idsOf(text)))))"
    computed = torch.tensor(compute(page_of(model, names()), code, tmp_path), dtype=torch.float64)
    expected = torch.stack([logits_after(model, prefix).softmax(0) for prefix in PREFIXES])
    torch.testing.assert_close(computed, expected, rtol=0, atol=EXACT)


def test_counts_in_javascript_are_those_of_the_models_by_counts(tmp_path: Path) -> None:
    code = f"""[countBigram(train, 27), countNgram(train, 27, 6)].map((model) => [
        measureDocuments(model, dev),
        {json.dumps(PREFIXES)}.map((text) => Array.from(soften(model.logits(idsOf(text))))),
    ])"""
    computed = compute(page_of(network(), names()), code, tmp_path)
    for (dev_loss, rows), block_size, smoothing in zip(
        computed, (1, 5), (Smoothing.add_k, Smoothing.kneser_ney), strict=True
    ):
        model = counts(block_size, smoothing)
        assert dev_loss == pytest.approx(dev_loss_of(model), abs=EXACT)
        expected = torch.stack([logits_after(model, prefix).softmax(0) for prefix in PREFIXES])
        torch.testing.assert_close(torch.tensor(rows, dtype=torch.float64), expected, rtol=0, atol=EXACT)


def test_losses_in_javascript_are_those_of_evaluation(tmp_path: Path) -> None:
    model = network()
    code = "[measureDocuments(network, dev), measureName(network, idsOf('christophe'))]"
    dev_loss, losses = compute(page_of(model, names()), code, tmp_path)
    assert dev_loss == pytest.approx(dev_loss_of(model), abs=EXACT)
    assert losses == pytest.approx(losses_of(model, "christophe"), abs=EXACT)


def test_temperature_and_top_k_change_probabilities_as_in_sampling(tmp_path: Path) -> None:
    model, settings = network(), [(0.5, 27), (2.0, 5), (1.0, 1), (0.0, 27), (1e-6, 3)]
    code = f"{json.dumps(settings)}.map(([t, k]) => Array.from(soften(network.logits(idsOf('em')), t, k)))"
    z = logits_after(model, "em")
    for (temperature, top_k), p in zip(settings, compute(page_of(model, names()), code, tmp_path), strict=True):
        kept = z.masked_fill(z < z.topk(top_k).values[-1], -math.inf)
        expected = (kept / max(temperature, 1e-6)).softmax(0)
        torch.testing.assert_close(torch.tensor(p, dtype=torch.float64), expected, rtol=0, atol=EXACT)


def test_drawn_names_follow_the_probabilities_and_the_seed(tmp_path: Path) -> None:
    code = """[1, 1, 2].map((seed) => {
        const settings = { temperature: 1, topK: 27, random: makeRandom(seed), longest: 1 };
        const model = countBigram([[1], [1, 2], [3]], 27);
        return Array.from({ length: 4000 }, () => drawName(run, model, [], settings).ids[0]);
    })"""
    first, again, other = compute(page_of(network(), names()), code, tmp_path)
    assert first == again and first != other
    # After a boundary: a twice, c once, and add-one smoothing; a name is never empty.
    p = torch.tensor([0.0, 3.0, 1.0, 2.0, *[1.0] * 23])
    p /= p.sum()
    shares = torch.bincount(torch.tensor(first), minlength=27) / len(first)
    assert ((shares - p).abs() <= 4 * (p * (1 - p) / len(first)).sqrt()).all()


def test_at_temperature_0_names_are_the_likeliest_letter_by_letter(tmp_path: Path) -> None:
    model = network()
    code = "drawName(run, network, idsOf('em'), { temperature: 0, topK: 27, random: makeRandom(5), longest: 12 })"
    drawn = compute(page_of(model, names()), code, tmp_path)
    text = "em"
    while len(text) < 12 and (likeliest := int(logits_after(model, text).argmax())) != 0:
        text += names().vocabulary.tokens[likeliest]
    assert names().vocabulary.decode(drawn["ids"]) == text
    assert drawn["ended"] == (len(text) < 12)


def test_text_is_read_as_far_as_its_characters_are_known(tmp_path: Path) -> None:
    html = page_of(network(), names())
    assert compute(html, "[readText(run, 'Zoë.'), readText({ ...run, unknown: 3 }, 'aë')]", tmp_path) == [
        {"ids": [26, 15], "unknown": ["ë", "."]},
        {"ids": [1, 3], "unknown": []},
    ]


# ---- What is in the page


def test_the_page_is_one_small_file_that_loads_nothing() -> None:
    html = page_of(network(), names())
    assert len(html.encode()) < 400_000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|\bfetch\(|XMLHttpRequest|\bimport\(|{{", html)
    assert "default-src 'none'" in html


def test_documents_come_back_as_they_were_whatever_is_in_them(tmp_path: Path) -> None:
    lines = ["</script>", "<!--", 'a"b\\', "日本", "e\u2028é"] * 4
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    for min_count, unknown in ((1, None), (5, "<unk>")):
        settings = ("data=text", f"data.path={tmp_path}/lines.txt", f"data.min_count={min_count}")
        own = read_documents(check(composed(*settings)).data)
        data = data_of(page_of(build("mlp", len(own.vocabulary), 3, **MLP), own))
        texts = [own.vocabulary.decode(ids[1:].tolist()) for ids in own.parts]
        if unknown is None:
            assert sorted("".join(texts).split("\n")) == sorted([*lines, ""])
        else:
            assert data["tokens"][data["unknown"]] == unknown
        assert [data["train"], data["dev"]] == [text.replace("<unk>", page.REPLACEMENT) for text in texts[:2]]


def test_a_long_text_is_not_part_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_CHARACTERS", 1000)
    data = data_of(page_of(network(), names()))
    assert data["train"] is None and data["dev"] is None and data["prefix"]


def test_the_colours_are_those_of_the_figures() -> None:
    css = page.read("explore.css")
    for name in ("BLUE", "ORANGE", "GREEN", "LIGHT_BLUE", "LIGHT_ORANGE", "LIGHT_GREEN"):
        assert f"--{name.lower().replace('_', '-')}: {getattr(style, name)};" in css


def test_what_a_page_cannot_compute_is_refused() -> None:
    large, broken = network(hidden=20_000), network()
    broken.b2.data[0] = math.nan  # type: ignore[operator]
    for model, named in ((counts(1, Smoothing.add_k), "ngram"), (large, "1,160,297"), (broken, "not finite")):
        with refused("model=", named):
            page.extract_layers(as_trained(model, names()))
    trained = as_trained(network(), names())
    for other in (
        replace(trained, vocabulary=Vocabulary((".", "the"), Level.word)),
        replace(trained, data={"layout": "running"}),
    ):
        with refused("characters"):
            page.extract_layers(other)


# ---- The page in a browser


def browse(file: Path, tmp_path: Path, address: str = "") -> str:
    """The document as headless Chromium shows it after its scripts have run; fails if one of them has an error."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("neither chromium nor google-chrome, to open the page with, is installed")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [browser, *flags, profile, "--virtual-time-budget=30000", "--dump-dom", file.as_uri() + address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert not (lines := [line for line in done.stderr.splitlines() if "CONSOLE" in line]), lines
    assert 'aria-busy="false"' in done.stdout or file.name == "frame.html"
    return done.stdout


def part(document: str, name: str) -> str:
    found = re.search(rf'<(\w+) id="{name}"[^>]*>(.*?)</\1>', document, re.DOTALL)
    assert found is not None, name
    return found[2]


def numbers(html: str) -> list[float]:
    return [float(each) for each in re.findall(r'<data value="([^"]+)">', html)]


def test_the_page_shows_the_probabilities_of_all_models_after_a_prefix(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "a page #1.html"
    path.write_text(page_of(model, names(), dev_loss_of(model)), encoding="utf-8")
    document = browse(path, tmp_path, f"#prefix={quote('christoë')}&temperature=0.7&top_k=9&seed=3")
    models = [model, counts(1, Smoothing.add_k), counts(5, Smoothing.kneser_ney)]

    head, body = part(document, "next-table").split("<tbody>")
    assert numbers(head) == pytest.approx([dev_loss_of(each) for each in models], abs=EXACT)
    expected = []
    for each in models:
        z = logits_after(each, "christo")
        expected.append((z.masked_fill(z < z.topk(9).values[-1], -math.inf) / 0.7).softmax(0))
    shown = torch.tensor(numbers(body), dtype=torch.float64).view(27, 3)
    torch.testing.assert_close(shown, torch.stack(expected, dim=1), rtol=0, atol=EXACT)

    assert "ë" in part(document, "message") and "christo" in part(document, "loss-title")
    losses = torch.tensor(numbers(part(document, "loss-table")), dtype=torch.float64).view(10, 3)
    losses = losses[1:]  # without dev losses; the mean comes last
    torch.testing.assert_close(
        losses[:-1], torch.tensor([losses_of(each, "christo") for each in models]).double().T, rtol=0, atol=EXACT
    )
    torch.testing.assert_close(losses[-1], losses[:-1].mean(0))

    drawn = re.findall(r"<li( class=\"known\")?>([a-z]+)", part(document, "names"))
    train = set(data_of(path.read_text(encoding="utf-8"))["train"].split("\n"))
    assert len(drawn) == 36 and all(name.startswith("christo") for _, name in drawn)
    assert [bool(known) for known, _ in drawn] == [name in train for _, name in drawn]
    assert any(known for known, _ in drawn)

    read = re.findall(r'<g class="read" data-id="(\d+)">', part(document, "embedding"))
    assert sorted(map(int, read)) == sorted(names().vocabulary.encode_text("sto").tolist())
    h = model.activations(torch.tensor([names().vocabulary.encode_text("sto").tolist()]))["h"][0]  # (200,)
    units = re.findall(r'<rect [^>]*class="(\w*)" fill-opacity="([\d.]+)"', part(document, "hidden"))
    values = [-float(size) if sign else float(size) for sign, size in units]
    assert values == pytest.approx(h.tolist(), abs=6e-4)


def test_the_page_has_room_on_a_narrow_screen_and_takes_any_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is in a frame that is 360 pixels wide, and tells it when it overflows, once it is complete."""
    tell = """<script>setInterval(() => {
        const { clientWidth, scrollWidth } = document.documentElement;
        if (document.querySelector("main").getAttribute("aria-busy") === "false")
          parent.postMessage([name, scrollWidth - clientWidth], "*");
      }, 500)</script></body>"""
    frames = ""
    for number, (hidden, most, address) in enumerate(
        [(200, 2**20, "#prefix=&temperature=0&top_k=999&seed=x"), (200, 2**20, "#prefix=" + "abw" * 99), (0, 1000, "")]
    ):
        monkeypatch.setattr(page, "MOST_CHARACTERS", most)  # the last one is without count-based models
        html = page_of(network(hidden=hidden, direct=True), names()).replace("</body>", tell)
        (tmp_path / f"{number}.html").write_text(html, encoding="utf-8")
        frames += f'<p id="p{number}"></p><iframe name="p{number}" width="360" src="{number}.html{address}"></iframe>'
    hear = "onmessage = (event) => (document.getElementById(event.data[0]).textContent = event.data[1])"
    (tmp_path / "frame.html").write_text(f"<script>{hear}</script>{frames}")
    document = browse(tmp_path / "frame.html", tmp_path)
    assert [part(document, f"p{number}") for number in range(3)] == ["0", "0", "0"]


def test_what_a_person_does_is_kept_in_the_address(tmp_path: Path) -> None:
    act = """<p id="address"></p><script>
      const wait = (ready, then) => ready() ? then() : setTimeout(wait, 100, ready, then);
      wait(() => document.querySelector("main").ariaBusy === "false", () => {
        const set = (id, value) => {
          document.getElementById(id).value = value;
          document.getElementById(id).dispatchEvent(new Event("input"));
        };
        set("prefix", "Em");
        set("temperature", 0.35);
        set("top_k", 4);
        document.getElementById("sorted").click();
        document.getElementById("again").click();
        document.querySelector("#next-table tr[data-id='13']").click();
        document.getElementById("controls").requestSubmit();
        // The address may change before the page is drawn again.
        wait(() => location.hash && document.getElementById("loss-title").textContent === "Loss of emm",
          () => (document.getElementById("address").textContent = location.hash));
      })</script></body>"""
    file = tmp_path / "page.html"
    file.write_text(page_of(network(), names()).replace("</body>", act), encoding="utf-8")
    document = browse(file, tmp_path)
    assert part(document, "address") == "#prefix=Emm&amp;temperature=0.35&amp;top_k=4&amp;seed=3&amp;sorted=1"
    assert part(document, "loss-title") == "Loss of emm"
    rows = torch.tensor(numbers(part(document, "next-table").split("<tbody>")[1]), dtype=torch.float64).view(27, 3)
    assert ((rows > 0).sum(0) == 4).all() and rows[:, 0].tolist() == sorted(rows[:, 0].tolist(), reverse=True)
