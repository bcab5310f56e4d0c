import pytest

from diffwright.batch.rows import Columns, Row, read_rows
from diffwright.core.errors import InputError

COLUMNS = Columns(("prompt", "subject"), ("seed",))


def write(folder, text, encoding="utf-8"):
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_have_names_cells_and_keys(tmp_path):
    text = 'id,prompt,subject,seed\nmug-1,"a mug, red",mug,3\n\n two ,a,b,\n'
    first, second = read_rows(write(tmp_path, text, "utf-8-sig"), COLUMNS)
    assert (first.id, first.number, first.seed(0)) == ("mug-1", 1, 3)
    assert first.text("prompt") == "a mug, red"
    assert (second.id, second.seed(7)) == ("two", 7)
    assert first.path("subject") == tmp_path.absolute() / "mug"
    assert first.key != second.key
    again = read_rows(write(tmp_path, "subject,prompt,seed\nmug,'a',\n,\nb,a,\n"), COLUMNS)
    assert [row.id for row in again] == ["00001", "00002"], "empty lines do not count"
    assert again[1].key == second.key, "the order of columns and empty cells do not matter"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no row"),
        ("prompt,subject\n", "holds no row"),
        ("prompt,seed\na,1\n", "has no column 'subject'"),
        ("prompt,subject,sed\na,b,1\n", "unknown column 'sed'; did you mean 'seed'"),
        ("prompt,subject,prompt\na,b,1\n", "'prompt' twice"),
        ("id,prompt,subject\nx,a,b\nX,c,d\n", "rows 1 and 2 of .* the same id 'X'"),
        ("id,prompt,subject\n../x,a,b\n", r"the id '\.\./x'"),
        ("id,prompt,subject\n,a,b\n", "the id ''"),
        ('prompt,subject\n"a,b\n', "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_rows(write(tmp_path, text), COLUMNS)


def test_a_missing_file_and_other_bytes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.csv is not there"):
        read_rows(tmp_path / "no.csv", COLUMNS)
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(write(tmp_path, "prompt,subject\nä,b\n", "latin-1"), COLUMNS)


def test_a_bad_row_is_kept_with_its_problem(tmp_path):
    rows = read_rows(write(tmp_path, "prompt,subject\na\na,b,c\na,b\n"), COLUMNS)
    for row, said in zip(rows, ("it has no 'subject'", "it has 3 cells for 2 columns", ""), strict=True):
        assert row.problem.startswith(said)
    assert rows[2].problem == ""


def test_an_empty_cell_may_be_a_value_and_one_that_is_not_there_is_none(tmp_path):
    columns = Columns(("image",), ("seed",), blank=("write",))
    rows = read_rows(write(tmp_path, "image,write\na.png,\na.png,OPEN\na.png\n,OPEN\n"), columns)
    assert [row.values.get("write") for row in rows] == ["", "OPEN", None, "OPEN"]
    assert rows[0].key != rows[1].key
    assert [row.problem for row in rows] == [
        "",
        "",
        "it has 1 cells for 2 columns, none for 'write'; add it, even empty",
        "it has no 'image'; fill the cell",
    ]
    with pytest.raises(
        InputError, match=r"has no column 'write'.* it needs 'image', 'write' and may have 'seed'"
    ):
        read_rows(write(tmp_path, "image,seed\na.png,1\n"), columns)


def test_one_of_several_columns_and_what_is_true():
    row = Row(id="x", number=1, values={"box": "1 2 3 4", "mask": "m.png", "bold": "TRUE", "italic": "yes"})
    assert row.one(("box", "point")) == "box"
    assert row.one(("point",), needed=False) == ""
    assert (row.truth("bold"), row.truth("thin")) == (True, False)
    for read, said in [
        (lambda: row.one(("box", "mask")), "row 'x' has 2 of box, mask; fill exactly one"),
        (lambda: row.one(("box", "mask"), needed=False), "fill at most one"),
        (lambda: row.one(("point",)), "row 'x' has 0 of point"),
        (lambda: row.truth("italic"), "italic of row 'x' is 'yes'; give true or false"),
    ]:
        with pytest.raises(InputError, match=said):
            read()


def test_numbers_are_read_and_other_cells_said():
    row = Row(id="x", number=1, values={"by": "40 zero", "seed": "1.5", "ok": "1 -2.5", "ok2": "1 2; 3"})
    assert row.numbers("ok", 2) == (1.0, -2.5)
    assert row.points("ok") == [(1.0, -2.5)]
    for read, said in [
        (lambda: row.numbers("by", 2), "by of row 'x' is '40 zero'; give 2 numbers separated by spaces"),
        (lambda: row.points("ok2"), "ok2 of row 'x' is ' 3'; give 2 numbers"),
        (lambda: row.seed(0), "seed of row 'x' is '1.5'; give a whole number"),
        (lambda: row.text("at"), "row 'x' has no at"),
    ]:
        with pytest.raises(InputError, match=said):
            read()
