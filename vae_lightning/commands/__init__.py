"""The commands of ``vae-lightning`` besides ``train``, one file each; heavy imports wait until a command runs."""
