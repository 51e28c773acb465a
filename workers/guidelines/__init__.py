"""Lung-RADS v2022, Fleischner 2017, Brock: rules as tables, each with its source."""
