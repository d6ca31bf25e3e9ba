"""What follows the charge: daily close, payouts, invoices, disputes, exports."""
