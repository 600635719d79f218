"""Train a VAE: ``python train.py likelihood=gaussian data=table data.path=my.csv``; ``--help`` tells more."""

from vae_lightning.cli.main import train

if __name__ == "__main__":
    train()
