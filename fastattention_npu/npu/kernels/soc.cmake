# fastattn_architecture_of_soc(VAR): the architecture to compile for, from SOC_VERSION (variable, then environment), else
# from npu-smi. Chips of another architecture than the kernels' are refused here, not by a compiler's thousand lines.
function(fastattn_architecture_of_soc result)
    if(CMAKE_ASC_ARCHITECTURES)
        if(NOT CMAKE_ASC_ARCHITECTURES STREQUAL dav-2201)
            message(FATAL_ERROR
                "CMAKE_ASC_ARCHITECTURES = ${CMAKE_ASC_ARCHITECTURES}: must be dav-2201, which is what the kernels are "
                "written for; leave it out, the chip says it")
        endif()
        set(${result} ${CMAKE_ASC_ARCHITECTURES} PARENT_SCOPE)
        return()
    endif()
    set(soc "${SOC_VERSION}")
    if(NOT soc)
        set(soc "$ENV{SOC_VERSION}")
    endif()
    if(NOT soc)
        find_program(FASTATTN_NPU_SMI npu-smi)
        if(FASTATTN_NPU_SMI)
            execute_process(COMMAND ${FASTATTN_NPU_SMI} info OUTPUT_VARIABLE table ERROR_QUIET)
            # The row of a card: | 0     910B2    | OK ...
            if(table MATCHES "\\| *[0-9]+ +(Ascend)?([0-9][0-9A-Za-z_]*) *\\| *(OK|Warning|Alarm|Critical)")
                set(soc "Ascend${CMAKE_MATCH_2}")
            endif()
        endif()
    endif()
    if(NOT soc)
        message(FATAL_ERROR
            "the SoC is unknown: SOC_VERSION is not set and npu-smi shows no card. Set it and install again, for example "
            "SOC_VERSION=Ascend910B2 pip install . (npu-smi info, column Name, preceded by Ascend)")
    endif()
    if(NOT soc MATCHES "^[Aa]scend910([Bb]|_93)")
        message(FATAL_ERROR
            "SOC_VERSION = ${soc}: must be an Ascend910B or Ascend910_93 chip (architecture dav-2201), which is what the "
            "kernels are written for")
    endif()
    message(STATUS "SoC ${soc}: dav-2201")
    set(${result} dav-2201 PARENT_SCOPE)
endfunction()
