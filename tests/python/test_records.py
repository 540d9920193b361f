"""What each call of Azure ML's logging interface puts into the journal, record by record."""

import os
import unittest

from support import MAX_RECORD, ScriptCase, need


class Lists(ScriptCase):
    def test_a_list_is_one_record_and_keeps_its_order_and_exact_values(self):
        records = self.logged("run.log_list('loss', [0.5, 2**63 - 1, float('nan'), -float('inf'), 'text', True])")
        values = [0.5, 2**63 - 1, {"float": "nan"}, {"float": "-inf"}, "text", 1]
        self.assertEqual(records, [{"list": "loss", "values": values}])

    def test_every_argument_form_of_azure_ml_is_the_same_call(self):
        records = self.logged(
            """
            run.log_list('x', [1, 2])
            run.log_list('x', [1, 2], 'a description')
            run.log_list(name='x', value=[1, 2])
            run.log_list(name='x', value=[1, 2], description='a description')
            """
        )
        self.assertEqual(records, [{"list": "x", "values": [1, 2]}] * 4)

    def test_a_generator_is_taken_once_and_an_empty_list_is_a_list(self):
        records = self.logged(
            "run.log_list('x', (n * n for n in range(4)))\nrun.log_list('e', [])\nrun.log_list('r', range(2))"
        )
        self.assertEqual([record["values"] for record in records], [[0, 1, 4, 9], [], [0, 1]])

    def test_numpy_and_what_looks_like_a_tensor_are_lists(self):
        need(self, "numpy")
        records = self.logged(
            """
            import numpy
            class Tensor:
                shape = (2,)
                requires_grad = True
                def tolist(self): return [0.25, 0.5]
            class Series:
                def __init__(self): self.shape = (2,)
                def keys(self): return [0, 1]
                def tolist(self): return [7, 8]
            run.log_list('x', numpy.array([1, 2]))
            run.log_list('x', numpy.array([1.5, numpy.nan], dtype='float32'))
            run.log_list('x', [numpy.float64(0.1), numpy.int8(-3)])
            run.log_list('x', numpy.array(3.0))
            run.log_list('x', Tensor())
            run.log_list('x', Series())
            """
        )
        self.assertEqual(
            [record["values"] for record in records],
            [[1, 2], [1.5, {"float": "nan"}], [0.1, -3], [3.0], [0.25, 0.5], [7, 8]],
        )

    def test_a_long_list_is_several_records_below_the_limit_that_together_are_the_list(self):
        self.run_script(
            """
            import runner
            run = runner.Run.get_context()
            run.log_list('long', (n / 7 for n in range(100_000)))
            run.log_list('texts', ['x' * 200_000] * 5)
            """
        )
        records = self.records()  # which checks the sizes
        self.assertGreater(len(self.raw_journal()), 3 * MAX_RECORD)
        long = [record for record in records if record["list"] == "long"]
        self.assertGreater(len(long), 2)
        self.assertEqual([value for record in long for value in record["values"]], [n / 7 for n in range(100_000)])
        self.assertEqual(sum(len(record["values"]) for record in records if record["list"] == "texts"), 5)

    def test_what_is_no_list_is_refused_whole_and_the_element_is_named(self):
        records = self.logged(
            """
            class Matrix:
                shape = (2, 3)
                def tolist(self): return [[1, 2, 3], [4, 5, 6]]
            for value, error, words in [
                ("text", TypeError, "value is one str; write [value]"),
                (b"raw", TypeError, "value is one bytes"),
                (5, TypeError, "value must be a list, an array or another iterable, not int; log() logs one value"),
                (None, TypeError, "not NoneType"),
                ({"a": 1}, TypeError, "log_row logs one row"),
                ([1, None], TypeError, "value[1] must be a number or a text, not NoneType"),
                ([[1]], TypeError, "value[0] must be a number or a text, not list"),
                ([1, 2**64], ValueError, "value[1] 18446744073709551616 does not fit into 64 bits"),
                (["x" * 480_000], ValueError, "value[0] is a text of 480002 bytes; put it into a file"),
                (["x" * 600_000], ValueError, "value[0] is a text of 600000 characters; put it into a file"),
                (Matrix(), ValueError, "one dimension, not shape (2, 3); write value.ravel()"),
                ((n if n < 3 else None for n in range(5)), TypeError, "value[3]"),
            ]:
                try:
                    run.log_list("x", value)
                except error as problem:
                    assert str(problem).startswith("log_list: "), problem
                    assert words in str(problem), (words, str(problem))
                else:
                    raise AssertionError(words)
            try:
                run.log_list("x", (1 / n for n in (1, 0)))
            except ZeroDivisionError:
                pass
            else:
                raise AssertionError("the generator's own error is hidden")
            """
        )
        self.assertEqual(records, [])


class Points(ScriptCase):
    def test_every_argument_form_of_log(self):
        records = self.logged(
            """
            run.log('x', 1)
            run.log('x', 1, 7)
            run.log('x', 1, step=7)
            run.log('x', 1, 'a description')
            run.log('x', 1, 'a description', 7)
            run.log('x', 1, description='a description', step=7)
            run.log(name='x', value=1, step=7)
            """
        )
        steps = [record.get("step") for record in records]
        self.assertEqual(steps, [None, 7, 7, None, 7, 7, 7])
        self.assertEqual({(record["metric"], record["value"]) for record in records}, {("x", 1)})

    def test_a_tensor_whose_index_works_for_integers_only_is_not_cut_to_an_integer(self):
        records = self.logged(
            """
            class Eager:
                def __index__(self): raise TypeError("only integer scalar arrays can be converted to a scalar index")
                def __int__(self): return 0
                def __float__(self): return 0.5
            run.log('x', Eager())
            """
        )
        self.assertEqual(records, [{"metric": "x", "value": 0.5}])


class Rows(ScriptCase):
    def test_a_row_has_its_columns_in_order_and_missing_values(self):
        records = self.logged("run.log_row('sine', angle=0.5, value=float('nan'), label='a', none=None)")
        self.assertEqual(
            records, [{"row": "sine", "values": {"angle": 0.5, "value": {"float": "nan"}, "label": "a", "none": None}}]
        )
        self.assertEqual(list(records[0]["values"]), ["angle", "value", "label", "none"])

    def test_every_argument_form_of_log_row_and_log_table(self):
        records = self.logged(
            """
            run.log_row('r', a=1)
            run.log_row('r', 'a description', a=1)
            run.log_row(name='r', description='a description', a=1)
            run.log_table('t', {'a': [1]})
            run.log_table('t', {'a': [1]}, 'a description')
            run.log_table(name='t', value={'a': [1]}, description='a description')
            """
        )
        self.assertEqual(records, [{"row": "r", "values": {"a": 1}}] * 3 + [{"table": "t", "values": {"a": [1]}}] * 3)

    def test_thousands_of_rows_are_a_record_each(self):
        records = self.logged("for n in range(3000): run.log_row('r', n=n, square=n * n)")
        self.assertEqual([record["values"] for record in records], [{"n": n, "square": n * n} for n in range(3000)])

    def test_shorter_columns_of_a_table_are_filled_up(self):
        records = self.logged("run.log_table('t', {'a': [1, 2, 3], 'b': (n for n in 'x'), 'c': []})")
        self.assertEqual(records[0]["values"], {"a": [1, 2, 3], "b": ["x", None, None], "c": [None, None, None]})

    def test_a_table_without_rows_keeps_its_columns(self):
        self.assertEqual(self.logged("run.log_table('t', {'a': [], 'b': []})"), [{"table": "t", "values": {"a": [], "b": []}}])

    def test_a_long_table_is_several_records_with_all_columns_of_equal_length(self):
        self.run_script(
            """
            import runner
            n = 60_000
            runner.Run.get_context().log_table('t', {'n': range(n), 'half': [x / 2 for x in range(n)], 'short': [1]})
            """
        )
        records = self.records()
        self.assertGreater(len(records), 2)
        for record in records:
            self.assertEqual(len({len(column) for column in record["values"].values()}), 1)
        whole = {name: [v for record in records for v in record["values"][name]] for name in ("n", "half", "short")}
        self.assertEqual(whole["n"], list(range(60_000)))
        self.assertEqual(whole["half"], [n / 2 for n in range(60_000)])
        self.assertEqual(whole["short"], [1] + [None] * 59_999)

    def test_pandas_objects_are_tables_without_importing_pandas(self):
        records = self.logged(
            """
            import datetime, sys, types
            # What the package may rely on: a frame's items(), a column's tolist(), and pandas in sys.modules.
            pandas = types.ModuleType("pandas")
            pandas.NA, pandas.NaT = object(), object()
            sys.modules["pandas"] = pandas
            class Column:
                def __init__(self, values): self.values, self.shape = values, (len(values),)
                def tolist(self): return self.values
            class Frame:
                def keys(self): return ["a", 7]
                def items(self):
                    yield "a", Column([1, pandas.NA, 3])
                    yield 7, Column([datetime.datetime(2026, 1, 2), pandas.NaT, None])
            run.log_table('t', Frame())
            """
        )
        self.assertEqual(records[0]["values"], {"a": [1, None, 3], "7": ["2026-01-02T00:00:00", None, None]})

    def test_real_pandas_objects(self):
        import importlib.util

        if importlib.util.find_spec("pandas") is None:  # no package of the distribution brings it along
            self.skipTest("pandas is missing")
        records = self.logged(
            """
            import pandas
            run.log_table('t', pandas.DataFrame({'a': [1, 2], 'b': ['x', None]}))
            run.log_list('l', pandas.Series([0.5, 1.5]))
            """
        )
        self.assertEqual(records[0]["values"], {"a": [1, 2], "b": ["x", None]})
        self.assertEqual(records[1]["values"], [0.5, 1.5])

    def test_what_is_no_row_or_table_is_refused_whole_and_the_place_is_named(self):
        records = self.logged(
            """
            def refused(error, words, call):
                try:
                    call()
                except error as problem:
                    assert words in str(problem), (words, str(problem))
                else:
                    raise AssertionError(words)
            refused(ValueError, "log_row: there are no columns", lambda: run.log_row('x'))
            refused(TypeError, "log_row: column 'a' must be a number or a text, not list", lambda: run.log_row('x', a=[1]))
            refused(ValueError, "log_row: the row has", lambda: run.log_row('x', a='x' * 300_000, b='x' * 300_000))
            refused(TypeError, "log_table: value must be a dict of columns or a DataFrame, not list", lambda: run.log_table('x', [1]))
            refused(ValueError, "log_table: value has no columns", lambda: run.log_table('x', {}))
            refused(TypeError, "log_table: value['a'] must be a list", lambda: run.log_table('x', {'a': 1}))
            refused(TypeError, "log_table: value['a'] is one str", lambda: run.log_table('x', {'a': 'abc'}))
            refused(TypeError, "log_table: column 'b', row 1 must be", lambda: run.log_table('x', {'a': [1], 'b': [1, {}]}))
            refused(ValueError, "two columns of one name", lambda: run.log_table('x', {1: [1], '1': [2]}))
            refused(ValueError, "log_table: row 0 has", lambda: run.log_table('x', {'a': ['x' * 300_000], 'b': ['x' * 300_000]}))
            refused(TypeError, "log_row: name must be a text, not int", lambda: run.log_row(5, a=1))
            refused(ValueError, "log_table: name is empty", lambda: run.log_table('', {'a': [1]}))
            """
        )
        self.assertEqual(records, [])


class Shapes(ScriptCase):
    def test_a_name_is_values_or_rows_and_the_other_shape_is_refused_at_the_call(self):
        records = self.logged(
            """
            calls = {
                'values': [lambda n: run.log(n, 1), lambda n: run.log_list(n, [1]), lambda n: runner.log(n, 1),
                           lambda n: run.log_residuals(n, {'data': {}})],
                'rows': [lambda n: run.log_row(n, a=1), lambda n: run.log_table(n, {'a': [1]})],
            }
            number = 0
            for first, other in (('values', 'rows'), ('rows', 'values')):
                for begin in calls[first]:
                    for end in calls[other]:
                        number += 1
                        begin('name %d' % number)
                        for again in calls[first]:
                            again('name %d' % number)
                        try:
                            end('name %d' % number)
                        except ValueError as error:
                            assert 'already' in str(error) and 'another name' in str(error), error
                        else:
                            raise AssertionError((first, other))
            """
        )
        shapes = {}
        for record in records:
            name = record.get("metric", record.get("list"))
            if name is not None:
                shapes.setdefault(name, set()).add("values")
            elif "artifact" not in record:
                shapes.setdefault(record.get("row", record.get("table")), set()).add("rows")
        self.assertEqual(len(shapes), 16)
        self.assertEqual([name for name, found in shapes.items() if len(found) != 1], [])


class Files(ScriptCase):
    def test_a_confusion_matrix_and_its_kin_are_files_whose_record_comes_first(self):
        need(self, "numpy")
        records = self.logged(
            """
            import json, numpy
            matrix = {"schema_type": "confusion_matrix", "schema_version": "v1",
                      "data": {"class_labels": ["0", "1"], "matrix": numpy.array([[3, 0], [1, 2]])}}
            run.log_confusion_matrix('cm', matrix)
            run.log_confusion_matrix(name='cm', value=json.dumps({"data": {"matrix": [[1]]}}), description='d')
            run.log_accuracy_table('acc', {"schema_type": "accuracy_table", "data": {"x": numpy.float64(0.5)}})
            run.log_residuals('res', {"data": {"bin_edges": numpy.array([0.0, numpy.nan]), "bin_counts": (1, numpy.int64(2))}})
            run.log_predictions('pre/d ict', {"data": {"bin_averages": [None]}})
            """
        )
        import json

        self.assertEqual(len(records), 10)
        kinds = []
        for artifact, metric in zip(records[::2], records[1::2]):
            self.assertEqual(metric["value"]["artifact"], artifact["artifact"])
            content = self.artifact(artifact["artifact"])
            self.assertEqual(len(content), artifact["bytes"])
            kinds.append((metric["metric"], metric["value"]["type"], json.loads(content.decode())["data"]))
        self.assertEqual(
            kinds,
            [
                ("cm", "confusion_matrix", {"class_labels": ["0", "1"], "matrix": [[3, 0], [1, 2]]}),
                ("cm", "confusion_matrix", {"matrix": [[1]]}),
                ("acc", "accuracy_table", {"x": 0.5}),
                ("res", "residuals", {"bin_edges": [0.0, "NaN"], "bin_counts": [1, 2]}),
                ("pre/d ict", "predictions", {"bin_averages": [None]}),
            ],
        )
        for name in (record["artifact"] for record in records[::2]):
            self.assertRegex(name, r"^(cm|acc|res|pre_d ict)_\d{16}\.json$")

    def test_what_is_no_such_value_is_refused_with_the_form_that_is(self):
        records = self.logged(
            """
            for value, words in [
                ([[1]], "value must be a dict, or its JSON text, not list"),
                ("no json", "value is no JSON"),
                ("[1]", "value must be a dict"),
                ({"matrix": [[1]]}, "value has no 'data'"),
                ({"schema_type": "residuals", "data": {}}, "value['schema_type'] is 'residuals'"),
            ]:
                try:
                    run.log_confusion_matrix('cm', value)
                except (runner.Invalid, TypeError) as error:
                    assert words in str(error), error
                    assert 'hint: write {"schema_type": "confusion_matrix"' in str(error), error
                else:
                    raise AssertionError(words)
            try:
                run.log_residuals('x', {"data": {"f": object()}})
            except TypeError as error:
                assert "value['data']['f'] holds a object" in str(error), error
            """
        )
        self.assertEqual(records, [])

    def test_a_picture_from_a_path_keeps_its_bytes_and_extension(self):
        self.write("plot.jpg", "picture")
        records = self.logged(
            """
            import pathlib
            run.log_image('a picture', 'plot.jpg')
            run.log_image(name='a picture', path=pathlib.Path('plot.jpg'), plot=None, description='d')
            """
        )
        names = [record["artifact"] for record in records[::2]]
        self.assertEqual(len(set(names)), 2)
        for name in names:
            self.assertRegex(name, r"^a picture_\d{16}\.jpg$")
            self.assertEqual(self.artifact(name), b"picture")
        self.assertEqual([record["value"]["type"] for record in records[1::2]], ["image", "image"])

    def test_matplotlib_figures_axes_and_the_pyplot_module_are_pictures(self):
        need(self, "matplotlib")
        records = self.logged(
            """
            import matplotlib
            matplotlib.use("Agg")
            import matplotlib.pyplot as plt
            figure, axes = plt.subplots(figsize=(1, 1))
            axes.plot([1, 2])
            run.log_image('figure', plot=figure)
            run.log_image('axes', plot=axes)
            run.log_image('pyplot', plot=plt)
            """
        )
        self.assertEqual([record["metric"] for record in records[1::2]], ["figure", "axes", "pyplot"])
        for record in records[::2]:
            self.assertTrue(self.artifact(record["artifact"]).startswith(b"\x89PNG\r\n"))

    def test_a_picture_that_is_none_is_refused_before_anything_is_written(self):
        records = self.logged(
            """
            for error, words, arguments in [
                (runner.Invalid, "log_image: neither of path and plot", {}),
                (runner.Invalid, "log_image: both of path and plot", {"path": "a", "plot": 1}),
                (runner.NotFound, "log_image: path: there is no file 'missing.png'", {"path": "missing.png"}),
                (TypeError, "log_image: plot must be a figure or the pyplot module, not int", {"plot": 5}),
                (runner.Invalid, "log_image: path '.' is a directory", {"path": "."}),
            ]:
                try:
                    run.log_image('x', **arguments)
                except error as problem:
                    assert words in str(problem), problem
                else:
                    raise AssertionError(words)
            run.log_row('rows', a=1)
            open('p.png', 'w').close()
            try:
                run.log_image('rows', 'p.png')
            except ValueError:
                pass
            """
        )
        self.assertEqual(records, [{"row": "rows", "values": {"a": 1}}])
        self.assertEqual(os.listdir(self.artifacts), [])

    def test_no_package_is_imported_to_recognise_its_objects(self):
        self.run_script(
            """
            import sys, runner
            run = runner.Run.get_context()
            run.log('x', 1); run.log_list('l', [1]); run.log_table('t', {'a': [1]}); run.log_residuals('r', {'data': {}})
            heavy = {'numpy', 'pandas', 'matplotlib', 'torch', 'typing', 'http', 'socket', 'tempfile', 'uuid'} & set(sys.modules)
            assert not heavy, heavy
            """
        )


if __name__ == "__main__":
    unittest.main()
