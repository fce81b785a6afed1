"""The command line, run in this process."""

from click.testing import CliRunner

from keras_concurrent import cli


def run(*words, status=0, text=None):
    result = CliRunner().invoke(cli.main, [str(word) for word in words], input=text)
    assert result.exit_code == status, result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr
    return result
