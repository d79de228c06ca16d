"""Members of one task trained in lockstep, each with its own rate: many runs for little more than the price of one."""

from lrkit.training.population._population import Population
from lrkit.training.population.members import MemberPlan, cross
from lrkit.training.population.route import Route

__all__ = ["MemberPlan", "Population", "Route", "cross"]
