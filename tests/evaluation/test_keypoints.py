import numpy as np
import pytest

from evaluation.keypoints import joint_errors
from tests.toys import figure_joints
from utils.pose_drawing import JOINT


def test_joint_errors() -> None:
    truth = figure_joints(3, 256)
    assert joint_errors(truth, truth, 256) == (0, 1)
    moved = truth + np.array([2.56, 0, 0])
    error, pck = joint_errors(moved, truth, 256)
    assert (error, pck) == (pytest.approx(1, abs=1e-4), 1)
    far = truth.copy()
    far[:, JOINT["left_wrist"], 0] += 100
    assert joint_errors(far, truth, 256)[1] == pytest.approx(17 / 18)


def test_joints_that_the_truth_hides_do_not_count_and_those_that_were_missed_do() -> None:
    truth = figure_joints(3, 256)
    truth[:, JOINT["left_ear"], 2] = 0
    found = truth.copy()
    found[:, JOINT["left_ear"], :2] = 0
    assert joint_errors(found, truth, 256) == (0, 1)
    found[:, JOINT["nose"], 2] = 0
    assert joint_errors(found, truth, 256) == (0, pytest.approx(16 / 17))
    assert np.isnan(joint_errors(found, np.zeros_like(truth), 256)).all()
