"""Chaos Toolkit: actions, probes and a control for anybody's experiment, and the export of ours."""
