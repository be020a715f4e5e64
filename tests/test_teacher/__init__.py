"""Tests of mmllava.teacher; no network, a server on this machine."""
