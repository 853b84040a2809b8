"""The command line of Table 2: what it trains, reads and refuses. Nothing is trained here."""

import importlib
import re
from unittest import mock

import command_line
import polars as pl
import pytest
from absl import flags
from fabricated import LEVELS, fabricate

import hlr_jax
from hlr_jax.errors import InputError
from hlr_jax.workdir import read_config


@pytest.fixture
def command():
    """Run the command with arguments; its ``run`` makes up a result. Return the folders it was asked for."""

    def call(*arguments, stopped_at="", **summary):
        trained = []

        def fake_run(config, folder, *, quiet, log):
            name = config["model"]["name"]
            if name == stopped_at:
                raise KeyboardInterrupt
            log("a summary of the data")
            trained.append("/".join(folder.parts[-2:]))
            fabricate(folder, LEVELS[name], config=config, **summary)

        with command_line.scripts():
            table2 = importlib.import_module("hlr_jax.cli.table2")

            # Devices are divided before the first computation, which in this process other tests have long done.
            with (
                mock.patch.object(hlr_jax, "run", fake_run),
                mock.patch("hlr_jax.cli.support.launch.devices_for_seeds"),
            ):
                flags.FLAGS(["table2", *map(str, arguments)])
                table2.main()
        return trained

    return call


CONFIGS = """
from ml_collections import ConfigDict

def get_config(choice):
    system, data = choice.split(",")
    if system == "mf_als":
        raise ValueError(f'there is no config "{choice}"')
    dataset = {"name": "", "path": "", "split": "given", "protocol": "reference"}
    sections = {"dataset": dataset, "model": {"name": system}, "train": {}, "eval": {"num_cohorts": 1}}
    return ConfigDict(sections | {"seed": 9})
"""


@pytest.fixture
def asked(tmp_path):
    """The arguments that ask for two data sets x two systems."""
    (tmp_path / "configs.py").write_text(CONFIGS)
    (tmp_path / "split.parquet").touch()
    return [
        f"--workdir={tmp_path}/runs",
        f"--configs={tmp_path}/configs.py",
        "--systems=hlr,cml",
        f"--data=mine={tmp_path}/split.parquet,ml-1m",
    ]


PLACES = ["mine/cml", "mine/hlr", "ml-1m/cml", "ml-1m/hlr"]


def test_runs_are_trained_once_and_then_read(command, asked, tmp_path, capsys):
    assert command(*asked) == PLACES
    out = capsys.readouterr().out
    assert re.findall(r"^\[(\d)/4\] (\S+), (\S+): 12 s, NDCG@10 \d\d\.\d\d, done$", out, re.MULTILINE) == [
        ("1", "mine", "CML"),
        ("2", "mine", "HLR"),
        ("3", "ml-1m", "CML"),
        ("4", "ml-1m", "HLR"),
    ]
    assert out.count("a summary of the data") == 1
    before = (tmp_path / "runs" / "table2.md").read_text()
    assert before.index("## mine") < before.index("## ml-1m")
    assert command(*asked, f"--output={tmp_path}/tables") == []
    assert capsys.readouterr().out.count("already done") == 4
    assert (tmp_path / "tables" / "table2.md").read_text() == before
    assert command(*asked, "--systems=lrml,cml", "--data=ml-1m") == ["ml-1m/lrml"]


def test_the_settings_of_a_run(command, asked, tmp_path):
    command(*asked, "--num_seeds=2", "--seed=5", "--spread=cohorts", "--protocol=paper")
    mine, named = (read_config(tmp_path / "runs" / place) for place in PLACES[1::2])
    split = str(tmp_path / "split.parquet")
    assert mine == {
        "dataset": {"name": "", "path": split, "split": "given", "protocol": "paper"},
        "model": {"name": "hlr"},
        "train": {"num_seeds": 2},
        "eval": {"num_cohorts": 1},
        "seed": 5,
    }
    assert named["dataset"] == {"name": "ml-1m", "path": "", "split": "random", "protocol": "paper"}


def test_a_stopped_command_leaves_a_valid_table_and_resumes(command, asked, tmp_path):
    command(*asked, "--data=ml-1m", "--systems=cml")
    with pytest.raises(KeyboardInterrupt):
        command(*asked, "--data=ml-1m,ml-100k", "--systems=cml,hlr,lrml", stopped_at="lrml")
    text = (tmp_path / "runs" / "table2.md").read_text()
    assert "(LRML on ml-1m, HLR on ml-1m, CML on ml-100k, LRML on ml-100k, HLR on ml-100k)" in text
    assert pl.read_csv(tmp_path / "runs" / "table2.csv")["model"].unique().to_list() == ["CML"]
    assert command(*asked, "--data=ml-1m", "--systems=cml,hlr,lrml") == ["ml-1m/lrml", "ml-1m/hlr"]
    assert "no result yet" not in (tmp_path / "runs" / "table2.md").read_text()


def test_a_new_run_of_another_protocol_is_refused(command, asked):
    command(*asked, "--systems=cml")
    with pytest.raises(InputError, match=r"cml/eval/test.json .* and .*hlr/eval/test.json .* differ in protocol"):
        command(*asked, protocol="paper", protocol_hash="f" * 16)


MISTAKES = {
    "other settings": (["--num_seeds=2"], "train.num_seeds is 3 there and 2 here; pass another --workdir"),
    "unknown system": (["--systems=hrl"], 'unknown system of --systems: "hrl" (did you mean "hlr'),
    "unknown data": (["--data=ml-100"], 'unknown data set "ml-100" (did you mean "ml-100k"?)'),
    "missing file": (["--data=x=no.parquet"], "no.parquet: no such file"),
    "a name with a slash": (["--data=a/b"], '"a/b" in "a/b" is not a name'),
    "data twice": (["--data=ml-1m,ml-1m"], '--data has "ml-1m" twice'),
    "no systems": (["--systems="], "--data and --systems must each name at least one"),
    "no configs": (["--configs=no.py"], "no.py: no such config file"),
    "no config of a system": (["--systems=mf_als"], 'there is no config "mf_als,mine"'),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(command, asked, case):
    arguments, message = MISTAKES[case]
    if case == "other settings":
        command(*asked, "--systems=cml")
    with pytest.raises(InputError, match=re.escape(message)) as problem:
        command(*asked, *arguments)
    assert "\n" not in str(problem.value)


def test_what_is_done_is_read_by_the_whole_command(command, asked):
    command(*asked)
    done = command_line.command("table2", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("already done") == 4


def test_runs_are_compared_by_a_paired_test(tmp_path):
    folders = [str(fabricate(tmp_path / name, level, seeds=(4,))) for name, level in (("low", 0.25), ("high", 0.33))]
    done = command_line.command("compare", f"--workdir={','.join(folders)}")
    assert done.returncode == 0, done.stderr
    assert "best is high." in done.stdout
    assert "One seed of low, high: the test ignores the variance over its seeds." in done.stdout
    shown = re.search(r"low +([\d.]+) +([\d.]+) to ([\d.]+) +([\d.e-]+)", done.stdout)
    mean, low, high, p_value = map(float, shown.groups())
    values = [pl.read_parquet(f"{folder}/eval/per_user.parquet").sort("user") for folder in folders]
    difference = (values[1]["ndcg"] - values[0]["ndcg"]).to_numpy()
    reach = 2.0010 * difference.std(ddof=1) / 60**0.5  # the quantile of Student's t with 59 degrees of freedom
    assert mean == pytest.approx(difference.mean(), abs=5e-5)
    assert (low, high) == (
        pytest.approx(difference.mean() - reach, abs=6e-5),
        pytest.approx(difference.mean() + reach, abs=6e-5),
    )
    assert p_value < 0.001
