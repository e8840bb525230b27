"""Who people are: registration, login, and the tokens by which every other service knows them."""
