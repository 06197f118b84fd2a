#include "evalmpi/comm/launch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {
namespace {

// A task of `srun -n 3`, before any PMI variables.
Environment srun_task(const std::string& task) {
  return {{"SLURM_JOB_ID", "42"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "3"},       {"SLURM_NTASKS", "3"},
          {"SLURM_PROCID", task}, {"SLURM_LOCALID", "1"}, {"SLURM_JOB_END_TIME", "1900000000"}};
}

// The shell of `sbatch -n 4`.
Environment batch_shell() {
  return {{"SLURM_JOB_ID", "42"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}};
}

TEST(Launch, NothingIsOneProcess) {
  const Launch launch = recognise_launch({{"HOME", "/root"}});
  EXPECT_EQ(launch.launcher, Launcher::kNone);
  EXPECT_EQ(launch.rank, 0);
  EXPECT_EQ(launch.size, 1);
  EXPECT_EQ(launch.job_id, "");
  EXPECT_FALSE(launch.job_end_unix_seconds);
  EXPECT_TRUE(speaks_before_init({}));
}

TEST(Launch, TheShellOfAJobIsOneProcess) {
  Environment batch = batch_shell();
  EXPECT_EQ(recognise_launch(batch).launcher, Launcher::kNone);
  EXPECT_EQ(recognise_launch(batch).job_id, "42");
  batch["SLURM_STEP_ID"] = "4294967291";  // the batch step
  EXPECT_EQ(recognise_launch(batch).launcher, Launcher::kNone);
  batch["SLURM_STEP_ID"] = "4294967290";  // salloc's interactive step
  batch["SLURM_STEP_NUM_TASKS"] = "1";
  EXPECT_EQ(recognise_launch(batch).launcher, Launcher::kNone);
  EXPECT_TRUE(speaks_before_init(batch));
}

TEST(Launch, MpirunWinsOverTheBatchStepsVariables) {
  Environment environment = batch_shell();
  environment.insert({{"OMPI_COMM_WORLD_SIZE", "4"},
                      {"OMPI_COMM_WORLD_RANK", "2"},
                      {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                      {"PMIX_RANK", "2"}});
  const Launch launch = recognise_launch(environment);
  EXPECT_EQ(launch.launcher, Launcher::kOpenMpi);
  EXPECT_EQ(launch.rank, 2);
  EXPECT_EQ(launch.size, 4);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_FALSE(speaks_before_init(environment));
  environment["OMPI_COMM_WORLD_RANK"] = "0";
  EXPECT_TRUE(speaks_before_init(environment));
}

TEST(Launch, SrunWithPmix) {
  Environment environment = srun_task("1");
  environment["PMIX_RANK"] = "1";
  environment["SLURM_RESTART_COUNT"] = "2";
  const Launch launch = recognise_launch(environment);
  EXPECT_EQ(launch.launcher, Launcher::kPmix);
  EXPECT_EQ(launch.rank, 1);
  EXPECT_EQ(launch.size, 3);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.restart_count, 2);
  EXPECT_EQ(launch.job_end_unix_seconds, 1900000000);
  EXPECT_FALSE(speaks_before_init(environment));
}

TEST(Launch, TheHostsNumberOfRanksWhereItIsTold) {
  Environment environment = {{"OMPI_COMM_WORLD_SIZE", "8"},
                             {"OMPI_COMM_WORLD_RANK", "5"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
  EXPECT_EQ(recognise_launch(environment).local_size, 4);
  environment["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";  // contradicts the local rank
  EXPECT_EQ(recognise_launch(environment).local_size, std::nullopt);

  Environment task = {{"PMIX_RANK", "3"},     {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "9"},
                      {"SLURM_LOCALID", "1"}, {"SLURM_NODEID", "3"},  {"SLURM_STEP_TASKS_PER_NODE", "2(x3),3"}};
  EXPECT_EQ(recognise_launch(task).local_size, 3);
  task["SLURM_NODEID"] = "2";
  EXPECT_EQ(recognise_launch(task).local_size, 2);
  for (const char* damaged : {"", "2(x", "-3", "x", "2,2", "9999999999999"}) {
    task["SLURM_STEP_TASKS_PER_NODE"] = damaged;
    EXPECT_EQ(recognise_launch(task).local_size, std::nullopt) << damaged;
  }
  EXPECT_EQ(recognise_launch({{"PMIX_RANK", "1"}, {"PALS_LOCAL_RANKID", "1"}, {"PALS_LOCAL_SIZE", "2"}}).local_rank, 1);
}

TEST(Launch, SrunWithoutPmixNamesTheRemedyOnce) {
  int speakers = 0;
  for (const char* task : {"0", "1", "2"}) {
    try {
      recognise_launch(srun_task(task));
      ADD_FAILURE() << "task " << task;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find("srun --mpi=pmix"), std::string::npos) << error.what();
    }
    speakers += speaks_before_init(srun_task(task));
  }
  EXPECT_EQ(speakers, 1);
}

TEST(Launch, OneTaskOfSrunNeedsNoPmix) {
  Environment environment = srun_task("0");
  environment["SLURM_STEP_NUM_TASKS"] = "1";
  EXPECT_EQ(recognise_launch(environment).launcher, Launcher::kNone);
  environment.erase("SLURM_STEP_NUM_TASKS");  // then the step's size is the job's
  EXPECT_THROW(recognise_launch(environment), Error);
}

TEST(Launch, DamagedVariablesAreNamed) {
  for (const auto& [name, value] : {std::pair{"OMPI_COMM_WORLD_RANK", "two"},
                                    {"OMPI_COMM_WORLD_RANK", "-1"},
                                    {"OMPI_COMM_WORLD_RANK", "4"},
                                    {"OMPI_COMM_WORLD_SIZE", "99999999999"},
                                    {"SLURM_RESTART_COUNT", "1x"}}) {
    Environment environment{{"OMPI_COMM_WORLD_SIZE", "4"}};
    environment[name] = value;
    try {
      recognise_launch(environment);
      ADD_FAILURE() << name << "=" << value;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(value), std::string::npos) << error.what();
    }
    speaks_before_init(environment);
  }
}

TEST(Launch, AnEndlessJobHasNoDeadline) {
  EXPECT_FALSE(recognise_launch({{"SLURM_JOB_END_TIME", "0"}}).job_end_unix_seconds);
  EXPECT_FALSE(recognise_launch({{"SLURM_JOB_END_TIME", ""}}).job_end_unix_seconds);
}

TEST(Launch, ProcessEnvironmentHoldsWhatWasSet) {
  setenv("EVALMPI_LAUNCH_TEST", "a=b", 1);
  EXPECT_EQ(process_environment().at("EVALMPI_LAUNCH_TEST"), "a=b");
}

}  // namespace
}  // namespace evalmpi::comm
