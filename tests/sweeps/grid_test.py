import json

import pytest

from hlr_jax import InputError
from hlr_jax.configs.recipes import get_config
from hlr_jax.experiment import settings_of
from hlr_jax.sweeps.points import Range, product, read_space, with_overrides

CONFIG = {
    "dataset": {"name": "ml-100k"},
    "model": {"name": "hlr", "num_memories": 5, "variant": "paper"},
    "train": {"objective": "hinge_mean", "learning_rate": 1e-3, "margin": 0.5, "temperature": 0.2, "num_seeds": 1},
    "seed": 0,
}


def test_a_grid_is_every_combination_of_values_from_flags_and_a_file(tmp_path):
    toml, nested = tmp_path / "grid.toml", tmp_path / "grid.json"
    toml.write_text('[model]\nvariant = ["paper", "reference"]\n')
    nested.write_text(json.dumps({"model": {"variant": ["paper", "reference"]}}))
    for path in (toml, nested):
        space = read_space(["train.margin=1,0.2", "model.num_memories=5"], str(path), CONFIG)
        assert product(space) == [
            {"train.margin": 1.0, "model.num_memories": 5, "model.variant": "paper"},
            {"train.margin": 1.0, "model.num_memories": 5, "model.variant": "reference"},
            {"train.margin": 0.2, "model.num_memories": 5, "model.variant": "paper"},
            {"train.margin": 0.2, "model.num_memories": 5, "model.variant": "reference"},
        ]
    assert [type(value) for value in space["train.margin"]] == [float, float]  # 1 and 1.0 are one setting


def test_the_grid_of_mf_als_reads_nothing_else():
    config = get_config("mf_als-tuned:ml-100k").to_dict()
    points = product(read_space(["mf_als", "model.embed_dim=64,128"], None, config))
    models = {settings_of(with_overrides(config, point))[0].options for point in points}
    assert len(models) == len(points) == 4 * 4 * 2 * 2


def test_the_papers_grid_has_4_x_4_x_4_points():
    points = product(read_space(["paper"], None, CONFIG))
    assert len({tuple(point.items()) for point in points}) == 4 * 4 * 4
    assert {point["train.margin"] for point in points} == {0.2, 0.5, 0.75, 1.0}


def test_a_point_changes_its_keys_and_nothing_else():
    changed = with_overrides(CONFIG, {"train.margin": 2.0, "seed": 3})
    assert changed["train"] == CONFIG["train"] | {"margin": 2.0}
    assert (changed["seed"], changed["model"], CONFIG["train"]["margin"]) == (3, CONFIG["model"], 0.5)


def test_ranges_are_for_samplers():
    space = read_space(["train.learning_rate=log:1e-4..1e-2", "model.num_memories=2..9"], None, CONFIG)
    assert space == {"train.learning_rate": Range(1e-4, 1e-2, True), "model.num_memories": Range(2, 9)}
    with pytest.raises(InputError, match=r"train\.learning_rate has a range; a grid needs a list"):
        product(space)


MISTAKES = {
    "nothing": ([], "nothing to vary"),
    "no preset": (["papr"], 'unknown preset of --grid: "papr" (did you mean "paper"?)'),
    "no key": (["train.margn=1"], 'unknown key of --grid=train.margn=1: "train.margn" (did you mean "train.margin"?)'),
    "a key that nothing reads": (["train.temperature=0.1,0.2"], "train.objective=hinge_mean does not read it"),
    "no value": (["train.margin="], "train.margin needs a list of one or more values"),
    "twice": (["train.margin=1", "train.margin=2"], "train.margin is given twice"),
    "a value twice": (["train.margin=1,1.0"], "train.margin has a value twice"),
    "data": (["dataset.name=a,b"], "dataset.name is the same for all points"),
    "seeds": (["train.num_seeds=1,2"], "train.num_seeds is the same for all points"),
    "a range from high to low": (["train.margin=2..1"], "'2..1' is not a range"),
    "a range of no numbers": (["train.margin=a..b"], "'a..b' is not a range"),
    "a logarithm of 0": (["train.margin=log:0..1"], "'log:0..1' is not a range"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named(case):
    entries, message = MISTAKES[case]
    with pytest.raises(InputError) as caught:
        read_space(entries, None, CONFIG)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "not JSON"),
        ("a.toml", "[", "not TOML"),
        ("a.json", "[1]", "not a map of keys to lists"),
        ("a.json", '{"train.margin": 1}', "needs a list of one or more values"),
        ("none.json", None, "no such file"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_space([], str(tmp_path / name), CONFIG)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
