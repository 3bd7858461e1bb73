"""What a user did wrong, said in one line."""


class InputError(ValueError):
    """Bad input: the message names the file or option and the way out. The command line turns it into exit status 2."""
