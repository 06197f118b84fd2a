# shellcheck shell=bash
# Sourced by the batch scripts here; edit it for your cluster. Everything may be set before by the submitter.

# What your cluster needs for Open MPI and the compiler's libraries, for example:
#   module load openmpi/4.1

# The program, seen from every node.
: "${EVALMPI:=${SLURM_SUBMIT_DIR:-$PWD}/build/bin/evalmpi}"

# Open MPI of Debian and Ubuntu starts under srun through PMIx only; `srun --mpi=list` shows what yours offers.
: "${EVALMPI_SRUN_MPI:=pmix}"

# A rank that waits gives its core away. Without it ranks that outnumber cores are hundreds of times slower.
: "${OMPI_MCA_mpi_yield_when_idle:=1}"

export EVALMPI EVALMPI_SRUN_MPI OMPI_MCA_mpi_yield_when_idle
