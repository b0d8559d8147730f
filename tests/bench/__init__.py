"""What scripts/demo and scripts/bench are made of: stamps from independent witnesses, timelines, figures.
Figures are printed; no test judges them."""
