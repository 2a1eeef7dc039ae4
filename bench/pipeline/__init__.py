"""The whole pipeline at a steady rate: the highest that it keeps up with, and that nothing was lost or doubled."""
