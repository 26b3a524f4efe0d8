"""Measurements that take minutes; none of them is a test."""
