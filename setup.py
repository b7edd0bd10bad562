"""Finds the packages: four folders at the top level are installed inside `visionrel`."""

from setuptools import find_packages, setup


MAPPED = ("pipelines", "detectors", "weights", "demos")

packages = find_packages(include=["visionrel", "visionrel.*"])
for folder in MAPPED:
    packages.append(f"visionrel.{folder}")
    packages.extend(f"visionrel.{folder}.{name}" for name in find_packages(folder))

setup(packages=packages, package_dir={f"visionrel.{folder}": folder for folder in MAPPED})
