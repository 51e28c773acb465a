"""matching, FROC, overlap, ROC, calibration; numpy only."""
