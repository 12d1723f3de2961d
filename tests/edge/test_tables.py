from facetell.edge.tables import Table


def test_a_table_is_markdown() -> None:
    table = Table(("name", "AUC"), [("one", "0.9"), ("another", "-")])
    assert str(table).splitlines() == ["| name | AUC |", "|---|---|", "| one | 0.9 |", "| another | - |"]
