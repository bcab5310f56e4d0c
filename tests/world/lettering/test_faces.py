import struct

import pytest

from diffwright.core.errors import ConfigError
from diffwright.world import splits
from diffwright.world.lettering import faces
from diffwright.world.lettering.families import ALIASES, FAMILIES, KIND_OF, KINDS, guess_kind
from diffwright.world.lettering.sfnt import NotAFont, read_fonts

ALONE = ()  # no folder but the package's


def test_the_shipped_family_is_there_without_any_installed_font():
    shipped = faces.installed(folders=ALONE)
    assert {face.family for face in shipped} == {"DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif"}
    assert {face.id for face in shipped} >= {
        "dejavu-sans", "dejavu-sans-bold", "dejavu-sans-italic", "dejavu-sans-bold-italic", "dejavu-serif-italic"
    }  # fmt: skip
    assert len({face.id for face in shipped}) == len(shipped)
    assert all(faces.can_draw(face, "".join(map(chr, range(32, 127)))) for face in shipped)
    assert (faces.SHIPPED / "LICENSE.txt").read_text().count("Bitstream") > 3
    for split in ("train", "test"):
        assert faces.installed(split, ALONE)
    with pytest.raises(ConfigError, match="'train'"):
        faces.installed("trian", ALONE)


def test_a_name_finds_its_face_and_a_wrong_one_gets_advice():
    def find(name, **style):
        return faces.named(name, folders=ALONE, **style).id

    assert find("DejaVu Serif") == find("dejavu-serif") == find("Dejavu serif ") == "dejavu-serif"
    assert find("DejaVu Sans", bold=True, italic=True) == "dejavu-sans-bold-italic"
    assert find("DejaVu Sans-BoldItalic") == find("dejavu sans bold oblique") == "dejavu-sans-bold-italic"
    assert find("mono") == "dejavu-sans-mono"
    assert find("DejaVu Sans Mono", italic=True) == "dejavu-sans-mono"  # the nearest of the family
    with pytest.raises(ConfigError, match="DejaVu Serif"):
        find("Bodoni Serif of 1798")


def test_faces_of_training_and_test_share_no_face():
    for family in {*splits.TEST_FONTS}:
        assert family in KIND_OF
        assert splits.font_split(family, False) == "test"
    held = [f for f in KIND_OF if f not in splits.TEST_FONTS and splits.font_split(f, True) == "test"]
    assert 0.3 < len(held) / len(KIND_OF) < 0.7
    train, test = (set(faces.installed(split)) for split in ("train", "test"))
    if any(face.family in splits.TEST_FONTS for face in faces.installed()):
        assert not train & test


def test_the_table_of_families_is_consistent():
    assert set(FAMILIES) == set(KINDS)
    assert len(KIND_OF) == sum(map(len, FAMILIES.values()))
    assert set(ALIASES.values()) <= set(KIND_OF) | set(KINDS)
    assert not [family for family in KIND_OF if " and " in family.lower()]
    assert [guess_kind(n) for n in ("My Code", "A Slab", "Open Sans X", "Old Roman")] == [
        "mono",
        "slab",
        "sans",
        "serif",
    ]


def test_damaged_font_files_are_refused_or_passed_over(tmp_path):
    good = (faces.SHIPPED / "DejaVuSans.ttf").read_bytes()
    endless = good[:4] + struct.pack(">H", 65535) + good[6:]
    for i, data in enumerate([b"", b"no font", good[:20], good[:400], b"ttcf" + b"\xff" * 60, endless[:900]]):
        path = tmp_path / f"{i}.ttf"
        path.write_bytes(data)
        with pytest.raises(NotAFont):
            read_fonts(path)
    assert faces.installed(folders=(tmp_path,)) == faces.installed(folders=ALONE)
