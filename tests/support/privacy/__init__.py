"""What a guarantee rests on, as tests make it: promises, policies, ledgers, and attacks on them."""
