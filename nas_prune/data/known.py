"""What `--data` takes: the data sets that have a name here, and how a person's own are named."""

KNOWN_DATA: dict[str, str] = {
    "digits": "1,797 real 8×8 scans of digits, grey; comes with scikit-learn, no download",
    "cifar10": "60,000 32×32 photographs of 10 kinds of things, colour; 170 MB download",
    "cifar100": "60,000 32×32 photographs of 100 kinds of things, colour; 170 MB download",
    "mnist": "70,000 28×28 scans of digits, grey; 12 MB download",
    "fashion-mnist": "70,000 28×28 pictures of clothing, grey; 30 MB download",
    "svhn": "99,289 32×32 photographs of house numbers, colour; 250 MB download",
    "folder:PATH": "your own images: PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg, or PATH/CLASS/*.jpg",
    "csv:FILE": "your own images: a row for each, with its path, its label and, if there is one, its split",
    "hf:DIR": "a data set of Hugging Face's datasets, saved with save_to_disk",
    "wds:DIR": "shards as WebDataset writes them: .tar files of images and classes",
    "package.module:function": "your own code, which gives PyTorch data sets (nas_prune.Datasets)",
}
