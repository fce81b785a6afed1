"""A chief and its workers: their names, their patience, and that the dead come back."""

import os
import stat
import sys
from types import SimpleNamespace

import grpc
import pytest

from keras_concurrent.errors import ConcurrentError
from keras_concurrent.search import workers
from keras_concurrent.search.workers import Role, supervise


def test_a_role_says_what_kerastuner_reads(monkeypatch):
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        monkeypatch.delenv(f"KERASTUNER_{name}", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    Role().take()
    assert not any(name.startswith("KERASTUNER") for name in os.environ)
    Role(worker="10.0.0.1:99", worker_name="pi-3").take()
    assert os.environ["KERASTUNER_TUNER_ID"] == "pi-3"
    assert os.environ["KERASTUNER_ORACLE_IP"] == "10.0.0.1"
    assert os.environ["KERASTUNER_ORACLE_PORT"] == "99"
    assert Role(chief="127.0.0.1:1").name == "chief"
    for wrong in (
        {"chief": "a:1", "worker": "a:1"}, {"chief": "8642"}, {"worker_name": "my-chief"},
        {"worker_name": "a/b"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"got"):
            Role(**wrong)


def test_a_worker_waits_for_a_chief_that_comes_again(monkeypatch):
    class Away(grpc.RpcError):
        def __init__(self, status):
            self.code = lambda: status

    answers = [Away(grpc.StatusCode.UNAVAILABLE), Away(grpc.StatusCode.UNAVAILABLE), "a trial"]

    def create_trial(tuner_id):
        assert tuner_id == "worker-1"
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(workers, "_POLL_S", 0.01)
    names = ("get_space", "update_space", "update_trial", "end_trial", "get_trial",
             "get_best_trials")  # fmt: skip
    client = SimpleNamespace(create_trial=create_trial, **dict.fromkeys(names, print))
    workers.patient(SimpleNamespace(oracle=client))
    assert client.create_trial("worker-1") == "a trial"
    answers.append(Away(grpc.StatusCode.INTERNAL))
    with pytest.raises(Away):
        client.create_trial("worker-1")


def program(tmp_path, monkeypatch, text):
    """Let a shell script stand for every process of a search."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ncd {tmp_path}\necho $@ >>started\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(workers, "_POLL_S", 0.02)
    return tmp_path / "started"


def test_the_dead_are_started_again_and_the_chief_stopped_at_the_end(tmp_path, monkeypatch):
    # A worker is killed twice, then ends well; the chief is killed once, then waits.
    started = program(
        tmp_path,
        monkeypatch,
        'case "$*" in *--chief*) mkdir c 2>/dev/null && kill -9 $$; exec sleep 60;; esac\n'
        'mkdir "a$9" 2>/dev/null && kill -9 $$; mkdir "b$9" 2>/dev/null && kill -9 $$; sleep 0.2',
    )
    supervise(tmp_path, 2, 8642, lambda: 0)
    lines = started.read_text().splitlines()
    assert sum("--chief 127.0.0.1:8642" in line for line in lines) == 2
    for name in ("worker-0", "worker-1"):
        assert sum(f"--worker 127.0.0.1:8642 --name {name}" in line for line in lines) == 3


def test_only_one_process_hands_out_the_trials(tmp_path):
    with workers.sole(tmp_path), pytest.raises(ConcurrentError, match="another process hands out"):
        workers.sole(tmp_path).__enter__()
    with workers.sole(tmp_path):
        pass


def test_one_that_always_dies_is_given_up(tmp_path, monkeypatch):
    started = program(tmp_path, monkeypatch, "exit 3")
    with pytest.raises(ConcurrentError, match=r"died 6 times while no trial ended"):
        supervise(tmp_path, 1, 8642, lambda: 0)
    assert len(started.read_text().splitlines()) <= 2 * 6
