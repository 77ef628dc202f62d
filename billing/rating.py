"""What a quantity costs. Pure.

The rules lie in `quotas.rating`, because budgets are held by them too; invoices are rated here.
"""

from quotas.rating import Charge, Rated, Tier, rate_charge

__all__ = ["Charge", "Rated", "Tier", "rate_charge"]
