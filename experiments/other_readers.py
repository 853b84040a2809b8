"""Compare readers of other libraries on realistic logs: the right pairs, an error, or silently wrong pairs.

python experiments/other_readers.py hlr_jax=python recbole=A/bin/python cornac=B/bin/python rectools=C/bin/python

Each NAME=PYTHON reads with an interpreter that has the library; the output is the table of docs/data/reading.md. Each
library gets all options that it has: separator, columns, encoding, whether there is a header. RecBole gets its own
header with types. RecTools takes frames from ``pandas.read_csv``. The right pairs are written here by hand.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import logging
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, NamedTuple

Pairs = set[tuple[str, str]]


class Case(NamedTuple):
    """A log, its format, and its right pairs (records without an id may be left out); None: no unique reading."""

    what: str
    data: bytes
    right: Pairs | None
    separator: str = ","
    columns: tuple[str, ...] = ("user", "item")
    header: bool = True
    encoding: str = "utf-8"
    decimal: str = "."


def _pairs(text: str) -> Pairs:
    return {(pair.split("/")[0], pair.split("/")[1]) for pair in text.split()}


_TITLED = ("user", "item", "title")
_RATED = ("user", "item", "rating")
CASES = [
    Case("plain", b"user,item\n1,a\n2,b\n", _pairs("1/a 2/b")),
    Case("lone quotes in a title", b'user,item,title\n1,a,x\n1,b,12" single\n2,a,x\n2,c,y\n3,b,7" single\n3,c,z\n',
         _pairs("1/a 1/b 2/a 2/c 3/b 3/c"), columns=_TITLED),
    Case("a title that begins with a lone quote", b'user,item,title\n1,a,"big\n2,b,x\n3,c,y" z\n', None,
         columns=_TITLED),
    Case("a quoted line end", b'user,item,title\n1,a,"x\ny"\n2,b,z\n', _pairs("1/a 2/b"), columns=_TITLED),
    Case("a quoted separator", b'user,item\n"Smith, J",a\nbob,b\n', {("Smith, J", "a"), ("bob", "b")}),
    Case("an open quote", b'user,item\n1,"abc\n1,b\n2,b\n', None),
    Case("no header", b"1,2\n1,4\n2,1\n", _pairs("1/2 1/4 2/1"), header=False),
    Case("two files joined by cat", b"user,item\n1,a\nuser,item\n2,b\n", _pairs("1/a 2/b")),
    Case("semicolons, quoted", b'"User-ID";"ISBN"\n"276725";"034545104X"\n"276726";"0155061224"\n',
         _pairs("276725/034545104X 276726/0155061224"), ";"),
    Case("decimal commas", b"user;item;rating\n1;a;3,5\n2;b;4,0\n", _pairs("1/a 2/b"), ";", _RATED, decimal=","),
    Case("a byte order mark", b"\xef\xbb\xbfuser,item\n1,a\n2,b\n", _pairs("1/a 2/b")),
    Case("no header, a byte order mark", b"\xef\xbb\xbf1,a\n2,b\n", _pairs("1/a 2/b"), header=False),
    Case("UTF-16", "user,item\n1,é\n2,b\n".encode("utf-16"), _pairs("1/é 2/b"), encoding="utf-16"),
    Case("latin-1", "user,item\n1,é\n2,b\n".encode("latin-1"), _pairs("1/é 2/b"), encoding="latin-1"),
    Case("CR line ends", b"user,item\r1,a\r2,b\r", _pairs("1/a 2/b")),
    Case("a line of blanks", b"user,item\n1,a\n   \n2,b\n", _pairs("1/a 2/b")),
    Case("blanks around ids", b"user,item\n1, a\n1 ,b\n2,c\n", _pairs("1/a 1/b 2/c")),
    Case("leading zeros", b"user,item\n007,a\n7,b\n", _pairs("007/a 7/b")),
    Case("missing ids", b"user,item\n1,a\nnan,b\nNULL,c\n,d\n2,a\n", _pairs("1/a 2/a")),
    Case("whole floats beside integers", b"user,item\n5863.0,a\n5863,b\n2,c\n", _pairs("5863/a 5863/b 2/c")),
    Case("ids beyond 2^53, one missing", b"user,item\n9007199254740993,a\n9007199254740992,b\n,c\n",
         _pairs("9007199254740993/a 9007199254740992/b")),
    Case("a line too short", b"user,item,rating\n1,a,5\n2\n3,c,4\n", _pairs("1/a 3/c"), columns=_RATED),
    Case("a line too long", b"user,item,rating\n1,a,5\n2,b,4,1\n3,c,4\n", None, columns=_RATED),
    Case("a rating that is none", b"user,item,rating\n1,a,5\n2,b,good\n", None, columns=_RATED),
]  # fmt: skip


def read_hlr_jax(case: Case, path: Path) -> Pairs:
    """Read by hlr_jax."""
    from hlr_jax import load_dataset

    options: dict[str, Any] = {"separator": case.separator, "encoding": case.encoding, "decimal": case.decimal}
    columns = ",".join(name if name in _RATED else "_" for name in case.columns)
    options |= {"header": "no", "columns": columns} if not case.header else {}
    if case.what.startswith("semicolons"):
        options |= {"user_column": "User-ID", "item_column": "ISBN"}
    if "rating" in case.columns:
        options |= {"rating_column": "rating", "threshold": 0.0}
    data = load_dataset(path, cache=False, log=lambda line: None, **options)
    return {
        (str(data.user_ids[int(user)]), str(data.item_ids[int(item)]))
        for part in (data.train, data.valid, data.test)
        for user, item in zip(part.user, part.item, strict=True)
    }


def read_recbole(case: Case, path: Path) -> Pairs:
    """Read ``log.inter``, whose header is RecBole's."""
    config, data = importlib.import_module("recbole.config"), importlib.import_module("recbole.data")
    kinds = {"user": "user_id:token", "item": "item_id:token", "rating": "rating:float", "title": "title:token"}
    text = case.data.decode(case.encoding)
    end = "\n" if "\n" in text else "\r"
    body = text.split(end, 1)[1] if case.header else text.removeprefix("\ufeff")
    head = case.separator.join(kinds[name] for name in case.columns)
    folder = path.parent / "log"
    folder.mkdir()
    (folder / "log.inter").write_bytes((head + end + body).encode(case.encoding))
    columns = [kinds[name].partition(":")[0] for name in case.columns]
    options = {
        "data_path": str(path.parent), "field_separator": case.separator, "encoding": case.encoding,
        "load_col": {"inter": columns}, "use_gpu": False, "state": "CRITICAL",
        "RATING_FIELD": "rating",
    }  # fmt: skip
    log = data.create_dataset(config.Config(model="BPR", dataset="log", config_dict=options))
    columns = [log.id2token(name, log.inter_feat[name].to_numpy()) for name in ("user_id", "item_id")]
    return set(zip(*(map(str, column) for column in columns), strict=True))


def _module_alone(name: str) -> Any:
    """Import a module without the ``__init__`` of its packages."""
    top = name.split(".")[0]
    if top not in sys.modules:
        spec = importlib.util.find_spec(top)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        for package in (top, name.rpartition(".")[0]):
            sys.modules[package] = types.ModuleType(package)
            sys.modules[package].__path__ = [str(Path(*spec.submodule_search_locations, *package.split(".")[1:]))]
    return importlib.import_module(name)


def read_cornac(case: Case, path: Path) -> Pairs:
    """Read by ``cornac.data.Reader``; its module is loaded alone, without Cornac's compiled models."""
    reader = _module_alone("cornac.data.reader").Reader
    # Its own parser of pairs takes all further fields of a line as items.
    parser = None if "rating" in case.columns else lambda fields, **_: [(fields[0], fields[1], 1.0)]
    rows = reader(encoding=case.encoding).read(
        str(path), fmt="UIR", sep=case.separator, skip_lines=int(case.header), parser=parser
    )
    return {(str(row[0]), str(row[1])) for row in rows}


def read_rectools(case: Case, path: Path) -> Pairs:
    """Read by pandas, and make RecTools' data set of the frame."""
    pandas, rectools = importlib.import_module("pandas"), importlib.import_module("rectools.dataset")
    frame = pandas.read_csv(
        path, sep=case.separator, encoding=case.encoding, decimal=case.decimal, header=0 if case.header else None,
        names=list(case.columns),
    )  # fmt: skip
    frame = frame.rename(columns={"user": "user_id", "item": "item_id", "rating": "weight"}).assign(
        datetime="2021-01-01"
    )
    frame = frame if "weight" in frame else frame.assign(weight=1.0)
    raw = rectools.Dataset.construct(frame[["user_id", "item_id", "weight", "datetime"]]).get_raw_interactions()
    return set(zip(map(str, raw["user_id"]), map(str, raw["item_id"]), strict=True))


def outcome(reader: str, case: Case) -> str:
    """Return a reader's outcome on a log: ``right``, ``refused``, or the wrong pairs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_bytes(case.data)
        try:
            found = globals()[f"read_{reader}"](case, path)
        except Exception as error:  # every library has its own
            if "--errors" in sys.argv:
                print(case.what, repr(error), file=sys.stderr)
            return "refused"
    if found == case.right:
        return "right"
    if case.right is None:
        return f"{len(found)} pairs"
    wrong = sorted(found - case.right)
    lost = len(case.right - found)
    shown = ", ".join("/".join(pair).replace("\n", "\\n")[:24] for pair in wrong[:2])
    return f"**wrong**: {lost} lost, {len(wrong)} made up" + (f" ({shown})" if shown else "")


def main() -> None:
    """Print the table, or, given one NAME, that reader's outcomes as a line of JSON."""
    logging.disable(logging.CRITICAL)
    if "=" not in sys.argv[1]:
        version = importlib.metadata.version(sys.argv[1])
        print(json.dumps([f"{sys.argv[1]} {version}", *(outcome(sys.argv[1], case) for case in CASES)]))
        return
    columns = [["log", *(case.what for case in CASES)]]
    for argument in sys.argv[1:]:
        name, python = argument.split("=", 1)
        output = subprocess.run([python, __file__, name], check=True, capture_output=True, text=True).stdout
        columns.append(json.loads(output.splitlines()[-1]))
    for number, row in enumerate(zip(*columns, strict=True)):
        print("| " + " | ".join(row) + " |")
        if number == 0:
            print("|" + " --- |" * len(row))


if __name__ == "__main__":
    main()
