"""Making it so: source checkout, buildx, cosign, publishing, and the walk over a plan.

process, lines    run one program: bounded, killed as a group, its output kept and made harmless
runconfig         a docker config folder for this run alone, with one host's credential
toolbox           the programs of this run, with the environment each may see
source            the build context of one recipe: a checkout, edited
buildx            one platform built and pushed by digest
smoke             the built image run, before anything is tagged
assemble          the index of them, as bytes
cosign            bundles made to files
attach            bundles written as referrers, and the fallback index once
publish           one change from build to tag, in the order of rule 2
executor          all changes of a plan, side by side where they may be
look              what must hold before the first effect
"""
