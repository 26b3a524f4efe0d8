import numpy as np

from utils.contact_sheet import contact_sheet


def flat(color, height=64, width=32):
    return np.full((height, width, 3), color, np.uint8)


def test_rows_keep_their_order_columns_line_up_and_many_frames_are_thinned():
    poses = [flat((0, 0, 10 * i)) for i in range(24)]
    frames = [flat((0, 10 * i, 0)) for i in range(24)]
    sheet = contact_sheet(
        [("photo", [flat((200, 0, 0))]), ("poses", poses), ("frames", frames)], row_height=64
    )
    rows, _ = np.nonzero((sheet == (200, 0, 0)).all(-1))
    assert len(rows) == 64 * 32
    blue = (sheet[..., 2] > 0) & (sheet[..., :2] == 0).all(-1)
    green = (sheet[..., 1] > 0) & (sheet[..., ::2] == 0).all(-1)
    assert rows.max() < np.nonzero(blue)[0].min() < np.nonzero(green)[0].min()
    blues = sorted(set(sheet[blue][:, 2].tolist()))
    assert len(blues) == 11 and blues[-1] == 230  # twelve of them, the first is black
    assert np.nonzero(blue)[1].max() == np.nonzero(green)[1].max()


def test_pictures_are_not_distorted():
    sheet = contact_sheet([("", [flat((200, 0, 0), 300, 100), flat((0, 0, 200), 50, 100)])], row_height=150)
    rows, columns = np.nonzero((sheet == (200, 0, 0)).all(-1))
    assert np.ptp(rows) == 149 and np.ptp(columns) == 49
    rows, columns = np.nonzero((sheet == (0, 0, 200)).all(-1))
    assert np.ptp(rows) == 149 and np.ptp(columns) == 299


def test_a_long_text_is_wrapped_and_stays_on_the_page():
    short = contact_sheet([("", [flat(0)])], title="word")
    long = contact_sheet([("", [flat(0)])], title="word " * 60)
    endless = contact_sheet([("", [flat(0)])], title="w" * 300)
    assert long.shape[1] == short.shape[1] == endless.shape[1]
    assert long.shape[0] > short.shape[0] + 60 and endless.shape[0] > short.shape[0] + 60
    for sheet in (short, long, endless):
        assert np.ptp(sheet[:, -12:]) == 0 and np.ptp(sheet[:, :12]) == 0


def test_an_empty_row_is_only_its_label():
    assert contact_sheet([("nothing yet", [])]).shape[2] == 3
